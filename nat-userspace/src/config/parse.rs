//! The keys of the configuration: TOML to draft. Nothing here looks past one table. Those of a NAT
//! gateway are in `gateways/parse.rs`, those of what filters, of placement, of
//! metadata, of load balancers, of endpoints and of proxies likewise;
//! the values of those about names are in `dns.rs`.

use super::draft::{
    Draft, InstanceDraft, NodeDraft, RouteDraft, RouteTableDraft, SubnetDraft, VpcDraft,
};
use super::filtering::{network_acl, prefix_list, security_group};
use super::gateways::nat_gateway;
use super::place::{Place, Read, Report};
use super::reader::{Field, Section, field};
use super::toml::Table;
use super::{balancing, dns, endpoints, metadata, placement, proxies, values};

const NAME: Field = field("name", "a string", "name = \"main\"");
pub const SUBNET_NAME: Field = field("subnet", "a string", "subnet = \"public-a\"");
pub const MAC: Field = field("mac", "a string", "mac = \"02:00:00:00:00:0a\"");
pub const PRIVATE_IP: Field = field("private_ip", "a string", "private_ip = \"10.20.1.100\"");

/// Reads the whole document; mistakes go to `report`.
pub fn document(root: &Table<'_>, report: &mut Report<'_>) -> Draft {
    const NODE: Field = field("node", "a table", "[node] with uplink = [\"eth0\"]");
    const VPC: Field = field("vpc", "an array of tables", "[[vpc]] with a name and cidrs");

    let mut section = Section::root(root);
    let node = match section.section(report, &NODE) {
        Some(section) => section.whole(report, node),
        None => NodeDraft::default(),
    };
    // A document has no header to point at: what is missing is missing from its first line on.
    let nowhere = Place::nowhere(0);
    if root.get(NODE.key).is_none() {
        report.error(
            &nowhere.child(NODE.key),
            "required table is missing",
            format!("add {}", NODE.example),
        );
    }
    let (vpcs, complete) = section.sections(report, &VPC);
    if vpcs.is_empty() && complete {
        report.error(
            &nowhere.child(VPC.key),
            "no VPC is defined",
            format!("add {}", VPC.example),
        );
    }
    let vpcs = vpcs
        .into_iter()
        .map(|section| section.whole(report, vpc))
        .collect();
    section.finish(report);
    Draft { node, vpcs }
}

fn node(section: &mut Section<'_>, report: &mut Report<'_>) -> NodeDraft {
    const NODE_NAME: Field = field("name", "a string", "name = \"edge-1\"");
    const REGION: Field = field("region", "a string", "region = \"eu-1\"");
    const UPLINK: Field = field("uplink", "an array of strings", "uplink = [\"eth0\"]");
    const ATTACH: Field = field("attach", "a string", "attach = \"auto\"");
    const MAX_SESSIONS: Field = field("max_sessions", "an integer", "max_sessions = 262144");
    const ICMP_ERRORS: Field = field(
        "icmp_errors_per_second",
        "an integer",
        "icmp_errors_per_second = 100",
    );
    const LOG_DESTINATIONS: Field = field(
        "log_destinations",
        "true or false",
        "log_destinations = true",
    );
    const METADATA: Field = field("metadata", "true or false", "metadata = false");
    const DNS_FORWARDERS: Field = field(
        "dns_forwarders",
        "an array of strings",
        "dns_forwarders = [\"192.0.2.53\"]",
    );

    let draft = NodeDraft {
        name: section.optional(report, &NODE_NAME, values::owned_text),
        region: section.optional(report, &REGION, values::owned_text),
        uplinks: section.required_list(report, &UPLINK, values::interface),
        attach: section.optional(report, &ATTACH, values::attach),
        max_sessions: section.optional(report, &MAX_SESSIONS, values::integer(1024..=16_777_216)),
        icmp_errors: section.optional(report, &ICMP_ERRORS, values::integer(0..=100_000)),
        log_destinations: section.optional(report, &LOG_DESTINATIONS, values::boolean),
        metadata: section.optional(report, &METADATA, values::boolean),
        dns_forwarders: section.list(report, &DNS_FORWARDERS, dns::forwarder),
    };
    values::check_name(draft.name.given(), report);
    values::check_name(draft.region.given(), report);
    draft
}

pub fn vpc(section: &mut Section<'_>, report: &mut Report<'_>) -> VpcDraft {
    const CIDRS: Field = field("cidrs", "an array of strings", "cidrs = [\"10.20.0.0/16\"]");
    const INTERNET_GATEWAY: Field = field(
        "internet_gateway",
        "true or false",
        "internet_gateway = true",
    );
    const STRICT: Field = field("strict", "true or false", "strict = false");
    const DNS: Field = field("dns", "true or false", "dns = false");
    const PRIVATE_DOMAIN: Field = field(
        "private_domain",
        "a string",
        "private_domain = \"internal\"",
    );
    const SUBNET: Field = field("subnet", "an array of tables", "[[vpc.subnet]]");
    const ROUTE_TABLE: Field = field("route_table", "an array of tables", "[[vpc.route_table]]");
    const NAT_GATEWAY: Field = field("nat_gateway", "an array of tables", "[[vpc.nat_gateway]]");
    const INSTANCE: Field = field("instance", "an array of tables", "[[vpc.instance]]");
    const PREFIX_LIST: Field = field("prefix_list", "an array of tables", "[[vpc.prefix_list]]");
    const SECURITY_GROUP: Field = field(
        "security_group",
        "an array of tables",
        "[[vpc.security_group]]",
    );
    const NETWORK_ACL: Field = field("network_acl", "an array of tables", "[[vpc.network_acl]]");
    const RACK: Field = field("rack", "an array of tables", "[[vpc.rack]]");
    const HOST: Field = field("host", "an array of tables", "[[vpc.host]]");
    const PLACEMENT_GROUP: Field = field(
        "placement_group",
        "an array of tables",
        "[[vpc.placement_group]]",
    );
    const TARGET_GROUP: Field = field("target_group", "an array of tables", "[[vpc.target_group]]");
    const LOAD_BALANCER: Field = field(
        "load_balancer",
        "an array of tables",
        "[[vpc.load_balancer]]",
    );
    const ENDPOINT_SERVICE: Field = field(
        "endpoint_service",
        "an array of tables",
        "[[vpc.endpoint_service]]",
    );
    const ENDPOINT: Field = field("endpoint", "an array of tables", "[[vpc.endpoint]]");
    const PROXY: Field = field("proxy", "an array of tables", "[[vpc.proxy]]");

    VpcDraft {
        name: required_name(section, report),
        cidrs: section.required_list(report, &CIDRS, values::cidr),
        internet_gateway: section.optional(report, &INTERNET_GATEWAY, values::boolean),
        strict: section.optional(report, &STRICT, values::boolean),
        dns: section.optional(report, &DNS, values::boolean),
        private_domain: section.optional(report, &PRIVATE_DOMAIN, dns::private_domain),
        subnets: section.each(report, &SUBNET, subnet),
        route_tables: section.each(report, &ROUTE_TABLE, route_table),
        nat_gateways: section.each(report, &NAT_GATEWAY, nat_gateway),
        instances: section.each(report, &INSTANCE, instance),
        prefix_lists: section.each(report, &PREFIX_LIST, prefix_list),
        security_groups: section.each(report, &SECURITY_GROUP, security_group),
        network_acls: section.each(report, &NETWORK_ACL, network_acl),
        racks: section.each(report, &RACK, placement::rack),
        hosts: section.each(report, &HOST, placement::host),
        placement_groups: section.each(report, &PLACEMENT_GROUP, placement::placement_group),
        target_groups: section.each(report, &TARGET_GROUP, balancing::target_group),
        load_balancers: section.each(report, &LOAD_BALANCER, balancing::load_balancer),
        endpoint_services: section.each(report, &ENDPOINT_SERVICE, endpoints::endpoint_service),
        // Of the API alone.
        endpoint_acceptances: Vec::new(),
        endpoints: section.each(report, &ENDPOINT, endpoints::endpoint),
        proxies: section.each(report, &PROXY, proxies::proxy),
        gone: Vec::new(),
    }
}

pub fn subnet(section: &mut Section<'_>, report: &mut Report<'_>) -> SubnetDraft {
    const CIDR: Field = field("cidr", "a string", "cidr = \"10.20.1.0/24\"");
    const ZONE: Field = field("zone", "a string", "zone = \"a\"");
    const INTERFACE: Field = field("interface", "a string", "interface = \"br-public\"");
    const ROUTE_TABLE: Field = field("route_table", "a string", "route_table = \"public\"");
    const NETWORK_ACL: Field = field("network_acl", "a string", "network_acl = \"public\"");

    let draft = SubnetDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        cidr: section.required(report, &CIDR, values::cidr),
        zone: section.optional(report, &ZONE, values::owned_text),
        interface: section.required(report, &INTERFACE, values::interface),
        route_table: section.optional(report, &ROUTE_TABLE, values::owned_text),
        network_acl: section.optional(report, &NETWORK_ACL, values::owned_text),
    };
    values::check_name(draft.zone.given(), report);
    draft
}

pub fn route_table(section: &mut Section<'_>, report: &mut Report<'_>) -> RouteTableDraft {
    const MAIN: Field = field("main", "true or false", "main = true");
    const ROUTES: Field = field(
        "routes",
        "an array of tables",
        "routes = [{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }]",
    );

    let name = required_name(section, report);
    let main = section.optional(report, &MAIN, values::boolean);
    let (routes, complete) = section.sections(report, &ROUTES);
    RouteTableDraft {
        place: section.place.clone(),
        name,
        main,
        routes: routes
            .into_iter()
            .map(|section| section.whole(report, route))
            .collect(),
        complete,
    }
}

pub fn route(section: &mut Section<'_>, report: &mut Report<'_>) -> RouteDraft {
    const DESTINATION: Field = field("destination", "a string", "destination = \"0.0.0.0/0\"");
    const TARGET: Field = field("target", "a string", "target = \"internet-gateway\"");

    RouteDraft {
        place: section.place.clone(),
        object: None,
        destination: section.required(report, &DESTINATION, values::destination),
        target: section.required(report, &TARGET, values::target),
    }
}

pub fn instance(section: &mut Section<'_>, report: &mut Report<'_>) -> InstanceDraft {
    const PUBLIC_IP: Field = field("public_ip", "a string", "public_ip = \"198.51.100.20\"");
    const SECURITY_GROUPS: Field = field(
        "security_groups",
        "an array of strings",
        "security_groups = [\"web\"]",
    );
    const SOURCE_DEST_CHECK: Field = field(
        "source_dest_check",
        "true or false",
        "source_dest_check = false",
    );

    InstanceDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        subnet: section.required(report, &SUBNET_NAME, values::owned_text),
        private_ip: section.required(report, &PRIVATE_IP, values::address),
        public_ip: section.optional(report, &PUBLIC_IP, values::address),
        security_groups: section.list(report, &SECURITY_GROUPS, values::owned_text),
        source_dest_check: section.optional(report, &SOURCE_DEST_CHECK, values::boolean),
        mac: section.optional(report, &MAC, values::mac),
        placement: placement::of_instance(section, report),
        metadata: metadata::of_instance(section, report),
    }
}

pub fn required_name(section: &mut Section<'_>, report: &mut Report<'_>) -> Read<String> {
    let name = section.required(report, &NAME, values::owned_text);
    values::check_name(name.given(), report);
    name
}
