use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{EVERYTHING, SAMPLE, with};
use crate::config::{
    Config, ConfigErrors, Filtering, Ipv4Net, NatGateway, PassRule, PortRange, Profile, Protocol,
    Target, Vpc, parse,
};

#[derive(Debug, Clone)]
enum Mutation {
    DeleteToken(Index),
    DuplicateToken(Index),
    SwapTokens(Index, Index),
    ReplaceToken(Index, &'static str),
    DeleteLine(Index),
    DuplicateLine(Index),
    ReplaceCharacter(Index, char),
    Truncate(Index),
}

const WORDS: [&str; 36] = [
    "0",
    "-1",
    "99999999999",
    "1.5",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "[[",
    "]]",
    "{}",
    "{ a = 1 }",
    "=",
    "\"10.20.1.0/24\"",
    "\"0.0.0.0/0\"",
    "\"10.20.1.255\"",
    "\"nat-gateway:\"",
    "\"\u{1b}[2J\"",
    "[vpc]",
    "[[node]]",
    "endpoint",
    "1979-05-27",
    "\"\"\"a\nb\"\"\"",
    "vpc.subnet.name",
    "profile",
    "\"rfc\"",
    "\"aws\"",
    "\"address-dependent\"",
    "\"198.51.100.11\"",
    "\"10.40.2.101:65535\"",
    "\"1-65535\"",
    "\"8005\"",
    "\"udp\"",
    "\"10.0.0.0/12\"",
    "\"10.40.2.0/28\"",
    "ports",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mutation::DeleteToken),
        index().prop_map(Mutation::DuplicateToken),
        (index(), index()).prop_map(|(a, b)| Mutation::SwapTokens(a, b)),
        (index(), proptest::sample::select(&WORDS[..]))
            .prop_map(|(at, word)| Mutation::ReplaceToken(at, word)),
        index().prop_map(Mutation::DeleteLine),
        index().prop_map(Mutation::DuplicateLine),
        (index(), any::<char>()).prop_map(|(at, new)| Mutation::ReplaceCharacter(at, new)),
        index().prop_map(Mutation::Truncate),
    ]
}

fn apply(text: &str, mutation: &Mutation) -> String {
    let mut tokens: Vec<String> = text
        .split_inclusive([' ', '\n', ','])
        .map(str::to_owned)
        .collect();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut characters: Vec<char> = text.chars().collect();
    if tokens.is_empty() {
        return "\n".to_owned();
    }
    match mutation {
        Mutation::DeleteToken(at) => {
            tokens.remove(at.index(tokens.len()));
        }
        Mutation::DuplicateToken(at) => {
            let at = at.index(tokens.len());
            tokens.insert(at, tokens[at].clone());
        }
        Mutation::SwapTokens(a, b) => {
            let (a, b) = (a.index(tokens.len()), b.index(tokens.len()));
            tokens.swap(a, b);
        }
        Mutation::ReplaceToken(at, word) => {
            let at = at.index(tokens.len());
            let end = if tokens[at].ends_with('\n') {
                "\n"
            } else {
                " "
            };
            tokens[at] = format!("{word}{end}");
        }
        Mutation::DeleteLine(at) => {
            lines.remove(at.index(lines.len()));
            return lines.concat();
        }
        Mutation::DuplicateLine(at) => {
            let at = at.index(lines.len());
            lines.insert(at, lines[at].clone());
            return lines.concat();
        }
        Mutation::ReplaceCharacter(at, new) => {
            let at = at.index(characters.len());
            characters[at] = *new;
            return characters.into_iter().collect();
        }
        Mutation::Truncate(at) => {
            characters.truncate(at.index(characters.len()));
            return characters.into_iter().collect();
        }
    }
    tokens.concat()
}

fn check_errors(text: &str, errors: &ConfigErrors) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    prop_assert!(!errors.0.is_empty());
    prop_assert!(errors.0.is_sorted_by_key(|error| error.line));
    for error in &errors.0 {
        prop_assert!((1..=lines).contains(&error.line), "{error}");
        prop_assert!(error.column >= 1, "{error}");
        let syntax = error.message.starts_with("TOML syntax: ");
        prop_assert!(
            !error.key.is_empty() || (syntax && errors.0.len() == 1),
            "{error}"
        );
        prop_assert!(
            !error.message.is_empty() && !error.remedy.is_empty(),
            "{error}"
        );
        let shown = error.to_string();
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    Ok(())
}

/// What a checked configuration promises, asked again in the plainest way.
fn check_promises(config: &Config) -> Result<(), TestCaseError> {
    prop_assert!(!config.node.uplinks.is_empty() && !config.vpcs.is_empty());
    let mut public: Vec<Ipv4Addr> = Vec::new();
    let mut blocks: Vec<&Ipv4Net> = Vec::new();
    for vpc in &config.vpcs {
        blocks.extend(&vpc.cidrs);
        let subnet = |name: &str| vpc.subnets.iter().find(|subnet| subnet.name == name);
        let gateway = |name: &str| vpc.nat_gateways.iter().any(|gateway| gateway.name == name);
        for (n, one) in vpc.subnets.iter().enumerate() {
            prop_assert!(vpc.cidrs.iter().any(|cidr| cidr.contains(&one.cidr)));
            prop_assert!(one.route_table.is_none() || vpc.route_table_of(one).is_some());
            for other in &vpc.subnets[n + 1..] {
                prop_assert!(one.name != other.name);
                prop_assert!(!one.cidr.contains(&other.cidr) && !other.cidr.contains(&one.cidr));
            }
        }
        for gateway in &vpc.nat_gateways {
            check_gateway(vpc, gateway)?;
        }
        for route in vpc.route_tables.iter().flat_map(|table| &table.routes) {
            match &route.target {
                Target::NatGateway(name) => prop_assert!(gateway(name)),
                Target::InternetGateway => prop_assert!(vpc.internet_gateway),
                Target::Instance(name) => {
                    let mut instances = vpc.instances.iter();
                    prop_assert!(instances.any(|one| one.name == *name && !one.source_dest_check));
                }
                Target::Local | Target::Blackhole => {}
            }
        }
        let gateways = vpc
            .nat_gateways
            .iter()
            .map(|gateway| (&gateway.subnet, gateway.private_ip));
        let instances = vpc
            .instances
            .iter()
            .map(|instance| (&instance.subnet, instance.private_ip));
        let mut private: Vec<_> = gateways.chain(instances).collect();
        for (name, address) in &private {
            prop_assert!(subnet(name).is_some_and(|subnet| subnet.cidr.contains(address)));
        }
        private.sort_by_key(|(_, address)| *address);
        prop_assert!(private.windows(2).all(|pair| pair[0].1 != pair[1].1));
        public.extend(
            vpc.nat_gateways
                .iter()
                .flat_map(|gateway| gateway.public_ips.iter().copied()),
        );
        public.extend(
            vpc.instances
                .iter()
                .filter_map(|instance| instance.public_ip),
        );
    }
    for (n, one) in blocks.iter().enumerate() {
        prop_assert!(
            blocks[n + 1..]
                .iter()
                .all(|other| !one.contains(*other) && !other.contains(*one))
        );
    }
    let count = public.len();
    public.sort();
    public.dedup();
    prop_assert_eq!(public.len(), count);
    Ok(())
}

fn check_gateway(vpc: &Vpc, gateway: &NatGateway) -> Result<(), TestCaseError> {
    let own = |address: &Ipv4Addr| gateway.addresses().contains(address);
    let is_open = gateway.filtering == Filtering::EndpointIndependent;
    if gateway.profile == Profile::Aws {
        prop_assert_eq!(gateway.filtering, Filtering::AddressAndPortDependent);
        prop_assert!(gateway.forwards.is_empty() || gateway.shared_with_host);
        prop_assert!(gateway.max_ports_per_client.is_none());
    }
    prop_assert!(gateway.port_rest.is_zero() || is_open);
    for (n, entry) in gateway.address_ports.iter().enumerate() {
        prop_assert!(own(&entry.public_ip));
        let mut later = gateway.address_ports[n + 1..].iter();
        prop_assert!(later.all(|other| other.public_ip != entry.public_ip));
    }
    let sizes = gateway.addresses().iter().map(|address| {
        let ranges = gateway.ports_of(*address);
        let mut ports: Vec<u16> = ranges
            .iter()
            .flat_map(|range| range.first..=range.last)
            .collect();
        let count = ports.len();
        ports.sort();
        ports.dedup();
        (1..=4).contains(&ranges.len()) && ports.len() == count && ports[0] > 0
    });
    prop_assert!(sizes.into_iter().all(|is_pool| is_pool));
    check_forwards(vpc, gateway)?;
    if let Some(clients) = gateway.deterministic {
        let sizes = gateway.addresses().iter().map(|address| {
            gateway
                .ports_of(*address)
                .iter()
                .map(|range| u64::from(range.size()))
                .sum::<u64>()
        });
        let sizes: Vec<u64> = sizes.collect();
        let per_address = (1u64 << (32 - clients.prefix_len())).div_ceil(sizes.len() as u64);
        prop_assert!(
            sizes
                .iter()
                .all(|size| *size == sizes[0] && *size >= per_address)
        );
        for subnet in &vpc.subnets {
            let mut routes = vpc
                .route_table_of(subnet)
                .into_iter()
                .flat_map(|table| &table.routes);
            let routed =
                routes.any(|route| route.target == Target::NatGateway(gateway.name.clone()));
            prop_assert!(!routed || clients.contains(&subnet.cidr));
        }
    }
    let rules = crate::config::rules_by_prefix(gateway.no_translate.iter().copied());
    prop_assert!(rules.values().all(|rules| (1..=8).contains(&rules.len())));
    let covered = |net: &Ipv4Net, protocol: Option<Protocol>, port: Option<u16>| {
        let mut rules = gateway
            .no_translate
            .iter()
            .filter(|rule| rule.destination.contains(net));
        rules.any(|rule| covers(&rule.rule, protocol, port))
    };
    for (net, rules) in &rules {
        for protocol in [
            None,
            Some(Protocol::Tcp),
            Some(Protocol::Udp),
            Some(Protocol::Icmp),
        ] {
            for port in [None, Some(443), Some(53), Some(1500)] {
                let compiled = rules.iter().any(|rule| covers(rule, protocol, port));
                prop_assert_eq!(compiled, covered(net, protocol, port));
            }
        }
    }
    Ok(())
}

fn covers(rule: &PassRule, protocol: Option<Protocol>, port: Option<u16>) -> bool {
    let ports = match (rule.ports, port) {
        (None, _) => true,
        (Some(ports), Some(port)) => ports.contains(port),
        (Some(_), None) => false,
    };
    (rule.protocol.is_none() || rule.protocol == protocol) && ports
}

fn check_forwards(vpc: &Vpc, gateway: &NatGateway) -> Result<(), TestCaseError> {
    let meet = |a: PortRange, b: PortRange| a.first <= b.last && b.first <= a.last;
    for (n, forward) in gateway.forwards.iter().enumerate() {
        prop_assert!(gateway.addresses().contains(&forward.public_ip));
        prop_assert!(forward.protocol != Protocol::Icmp);
        prop_assert_eq!(forward.pairs().count(), forward.ports.size() as usize);
        let mut subnets = vpc.subnets.iter();
        prop_assert!(subnets.any(|subnet| subnet.cidr.contains(forward.to.ip())));
        for other in gateway.forwards[n + 1..]
            .iter()
            .filter(|other| other.protocol == forward.protocol)
        {
            let public = other.public_ip == forward.public_ip && meet(other.ports, forward.ports);
            let inside = other.to.ip() == forward.to.ip()
                && meet(other.inside_ports(), forward.inside_ports());
            prop_assert!(!public && !inside);
        }
    }
    Ok(())
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match parse("nat.toml", text) {
        Ok(config) => check_promises(&config),
        Err(errors) => check_errors(text, &errors),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_sample_is_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(SAMPLE.to_owned(), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn mutated_settings_are_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let settings = mutations.iter().fold(EVERYTHING.to_owned(), |text, mutation| apply(&text, mutation));
        check(&with(&settings))?;
    }

    #[test]
    fn any_text_is_read_or_refused_with_reasons(text in "(\\PC|[\\[\\]={}\"'.,#\n\r\t a-z0-9]){0,80}") {
        check(&text)?;
    }
}
