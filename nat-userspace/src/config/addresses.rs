//! Checks of addresses: blocks that overlap, addresses outside their subnet, reserved or taken.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rustc_hash::FxHashMap;

use super::draft::{Draft, SubnetDraft, VpcDraft};
use super::index::Index;
use super::nets::Nets;
use super::place::{Located, Report};
use super::suggest::{quoted, some_of};
use super::validate::unique;

/// Blocks that are no host's address (RFC 6890), and so neither a VPC's nor public.
const NOT_UNICAST: [Ipv4Net; 5] = [
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The block that an address is no host's in, if there is one.
pub fn not_unicast(address: Ipv4Addr) -> Option<&'static Ipv4Net> {
    NOT_UNICAST.iter().find(|block| block.contains(&address))
}

/// Reports the mistakes in the addresses of all VPCs.
pub fn check(draft: &Draft, report: &mut Report<'_>) {
    for vpc in &draft.vpcs {
        vpc_cidrs(vpc, report);
        subnet_cidrs(vpc, report);
        private_addresses(vpc, report);
    }
    public_addresses(draft, report);
}

/// CIDRs of different VPCs may overlap, those of one may not.
fn vpc_cidrs(vpc: &VpcDraft, report: &mut Report<'_>) {
    let cidrs = &vpc.cidrs;
    if let Some(place) = cidrs.place.as_ref()
        && cidrs.items.is_empty()
        && cidrs.complete
    {
        report.error(
            place,
            "the VPC has no CIDR",
            "write at least one, as in cidrs = [\"10.20.0.0/16\"]",
        );
    }
    for net in &cidrs.items {
        vpc_cidr(net, report);
    }
    for (earlier, later) in overlaps(cidrs.items.iter().collect()) {
        let position = report.position(&earlier.place);
        report.error(
            &later.place,
            format!("{} overlaps {} ({position})", later.value, earlier.value),
            "remove one of them or make them apart",
        );
    }
}

fn vpc_cidr(net: &Located<Ipv4Net>, report: &mut Report<'_>) {
    if !(8..=28).contains(&net.value.prefix_len()) {
        report.error(
            &net.place,
            format!("{} has the wrong size for a VPC", net.value),
            "use a prefix length from /8 to /28",
        );
    } else if let Some(block) = NOT_UNICAST
        .iter()
        .find(|block| intersect(block, &net.value))
    {
        report.error(
            &net.place,
            format!("{} meets {block}, which hosts cannot use", net.value),
            "use a private block such as \"10.20.0.0/16\"",
        );
    }
}

fn subnet_cidrs(vpc: &VpcDraft, report: &mut Report<'_>) {
    let nets = || vpc.subnets.iter().filter_map(|subnet| subnet.cidr.given());
    let cidrs = &vpc.cidrs;
    let around: Nets<()> = cidrs.items.iter().map(|cidr| (cidr.value, ())).collect();
    for net in nets() {
        if net.value.prefix_len() > 30 {
            report.error(
                &net.place,
                format!("{} is too small for a subnet", net.value),
                "use a prefix length up to /30",
            );
        }
        if around.around(net.value).is_none() && cidrs.complete && !cidrs.items.is_empty() {
            report.error(
                &net.place,
                format!("{} lies outside the CIDRs of the VPC", net.value),
                format!(
                    "choose one inside {}, or add to the VPC's cidrs",
                    some_of(&cidrs.items, |cidr| cidr.value.to_string())
                ),
            );
        }
    }
    for (earlier, later) in overlaps(nets().collect()) {
        let position = report.position(&earlier.place);
        report.error(
            &later.place,
            format!(
                "{} overlaps {}, the subnet on {position}",
                later.value, earlier.value
            ),
            "make the two subnets apart",
        );
    }
}

/// Overlapping pairs, each as (earlier, later) in the file. CIDRs nest or are apart, so after
/// sorting a block overlaps the widest one before it or none.
fn overlaps(mut blocks: Vec<&Located<Ipv4Net>>) -> Vec<(&Located<Ipv4Net>, &Located<Ipv4Net>)> {
    blocks.sort_by_key(|net| {
        (
            net.value.network(),
            net.value.prefix_len(),
            net.place.offset,
        )
    });
    let mut pairs = Vec::new();
    let mut widest: Option<&Located<Ipv4Net>> = None;
    for net in blocks {
        match widest {
            Some(outer) if outer.value.contains(&net.value) => {
                let ordered = outer.place.offset <= net.place.offset;
                pairs.push(if ordered { (outer, net) } else { (net, outer) });
            }
            _ => widest = Some(net),
        }
    }
    pairs
}

fn private_addresses(vpc: &VpcDraft, report: &mut Report<'_>) {
    let index = Index::new(vpc);
    let gateways = vpc
        .nat_gateways
        .iter()
        .map(|gateway| (&gateway.subnet, &gateway.private_ip));
    let instances = vpc
        .instances
        .iter()
        .map(|instance| (&instance.subnet, &instance.private_ip));
    let balancers = vpc
        .load_balancers
        .iter()
        .map(|balancer| (&balancer.subnet, &balancer.private_ip));
    let endpoints = vpc.endpoints.iter().flat_map(|endpoint| {
        let interfaces = endpoint.interfaces.items.iter();
        interfaces.map(|interface| (&interface.subnet, &interface.private_ip))
    });
    let mut addresses: Vec<&Located<Ipv4Addr>> = Vec::new();
    let parts = gateways.chain(instances).chain(balancers).chain(endpoints);
    for (subnet, address) in parts {
        let Some(address) = address.given() else {
            continue;
        };
        addresses.push(address);
        if let Some(subnet) = index.subnet(subnet) {
            private_address(address, subnet, report);
        }
    }
    in_order(&mut addresses);
    unique(
        addresses.into_iter(),
        |address| format!("private address {address}"),
        "give each NAT gateway, instance, load balancer and endpoint an address of its own",
        report,
    );
}

fn private_address(address: &Located<Ipv4Addr>, subnet: &SubnetDraft, report: &mut Report<'_>) {
    let (Some(net), Some(name)) = (subnet.cidr.value(), subnet.name.value()) else {
        return;
    };
    let usable = usable(net);
    if usable.is_some_and(|(first, last)| (first..=last).contains(&address.value)) {
        return;
    }
    let remedy = match usable {
        Some((first, last)) => format!("use {first} to {last}"),
        None => format!(
            "make subnet {} larger: all of {net} is reserved",
            quoted(name)
        ),
    };
    if !net.contains(&address.value) {
        report.error(
            &address.place,
            format!(
                "{} lies outside subnet {}, {net}",
                address.value,
                quoted(name)
            ),
            remedy,
        );
    } else {
        report.error(
            &address.place,
            format!(
                "{} is reserved: the first four addresses and the last of a subnet are",
                address.value
            ),
            remedy,
        );
    }
}

/// AWS reserves the first four addresses (network, router, DNS, future use) and the last.
fn usable(net: &Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let first = u32::from(net.network()).checked_add(4)?;
    let last = u32::from(net.broadcast()).checked_sub(1)?;
    (first <= last).then(|| (first.into(), last.into()))
}

/// Packets from outside are told apart by the address they are for, so every address that is translated
/// to is unique over all VPCs: public ones, and the private ones of private NAT gateways.
fn public_addresses(draft: &Draft, report: &mut Report<'_>) {
    let inside: Nets<&str> = draft
        .vpcs
        .iter()
        .flat_map(|vpc| vpc.cidrs.items.iter().map(|cidr| (cidr.value, vpc.title())))
        .collect();
    let mut addresses: Vec<&Located<Ipv4Addr>> = Vec::new();
    for vpc in &draft.vpcs {
        for gateway in &vpc.nat_gateways {
            let shared = &gateway.shared_with_host;
            let shared = shared.is_broken() || shared.value() == Some(&true);
            for address in &gateway.public_ips.items {
                let remedy = "use an address outside every VPC; if it is this host's own, set \
                              shared_with_host = true";
                public_address(&inside, address, (!shared).then_some(remedy), report);
                addresses.push(address);
            }
        }
        for address in vpc
            .instances
            .iter()
            .filter_map(|instance| instance.public_ip.given())
        {
            let remedy = "use an address outside every VPC";
            public_address(&inside, address, Some(remedy), report);
            addresses.push(address);
        }
    }
    in_order(&mut addresses);
    unique(
        addresses.iter().copied(),
        |address| format!("public address {address}"),
        "give each NAT gateway and instance public addresses of its own",
        report,
    );
    private_gateways(draft, &addresses, report);
}

fn private_gateways(draft: &Draft, public: &[&Located<Ipv4Addr>], report: &mut Report<'_>) {
    // With the VPC whose other private addresses it was compared with already.
    let mut addresses: Vec<(Option<usize>, &Located<Ipv4Addr>)> =
        public.iter().map(|address| (None, *address)).collect();
    for (number, vpc) in draft.vpcs.iter().enumerate() {
        let private = vpc
            .nat_gateways
            .iter()
            .filter(|gateway| gateway.public_ips.complete && gateway.public_ips.items.is_empty());
        let private = private.filter_map(|gateway| gateway.private_ip.given());
        addresses.extend(private.map(|address| (Some(number), address)));
    }
    addresses.sort_by_key(|(_, address)| address.place.offset);
    let mut seen = FxHashMap::default();
    seen.reserve(addresses.len());
    for (vpc, address) in addresses {
        let (first_vpc, first) = *seen.entry(address.value).or_insert((vpc, address));
        if first_vpc != vpc {
            let position = report.position(&first.place);
            report.error(
                &address.place,
                format!("{} is already translated to on {position}", address.value),
                "choose another: a private NAT gateway translates to its private_ip, which is then \
                 unique in the whole file",
            );
        }
    }
}

/// `outside` is the remedy when the address has to lie outside every VPC.
fn public_address(
    inside: &Nets<&str>,
    address: &Located<Ipv4Addr>,
    outside: Option<&str>,
    report: &mut Report<'_>,
) {
    if let Some(block) = not_unicast(address.value) {
        report.error(
            &address.place,
            format!(
                "{} lies in {block} and cannot be a public address",
                address.value
            ),
            "use a unicast address that is routed to this host",
        );
        return;
    }
    let Some(remedy) = outside else {
        return;
    };
    if let Some((cidr, vpc)) = inside.holding(address.value) {
        report.error(
            &address.place,
            format!(
                "public address {} lies in {cidr} of VPC {}",
                address.value,
                quoted(vpc)
            ),
            remedy,
        );
    }
}

/// Of two equal addresses, the later one in the file is the mistake.
fn in_order(addresses: &mut [&Located<Ipv4Addr>]) {
    addresses.sort_by_key(|address| address.place.offset);
}

fn intersect(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}
