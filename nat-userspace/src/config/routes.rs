//! Checks of routes: destinations, prefix lists among them, and targets.

use std::fmt;

use ipnet::Ipv4Net;

use super::draft::{InstanceDraft, RouteDraft, RouteTableDraft, VpcDraft};
use super::endpoints::{Ways, takes_routes};
use super::index::Index;
use super::nets::Nets;
use super::place::{Located, Place, Read, Report};
use super::suggest::quoted;
use super::types::{Destination, Target};
use super::validate::{dangling, unique};

/// Of a table, a prefix list counting as its entries.
pub const MAX_ROUTES: usize = 500;
/// AWS keeps this block for services of the host.
const RESERVED: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(169, 254, 168, 0), 22);

/// Reports the mistakes in the routes of a VPC's tables, of those that are to be looked at.
pub fn check(
    vpc: &VpcDraft,
    index: &Index<'_>,
    report: &mut Report<'_>,
    touched: &dyn Fn(&RouteTableDraft) -> bool,
) {
    let cidrs = vpc.cidrs.items.iter().map(|cidr| (cidr.value, ()));
    let checks = Checks {
        vpc,
        index,
        cidrs: cidrs.collect(),
        endpoints: Ways::new(index),
    };
    for table in vpc.route_tables.iter().filter(|table| touched(table)) {
        checks.table(table, report);
    }
}

struct Checks<'a> {
    vpc: &'a VpcDraft,
    index: &'a Index<'a>,
    cidrs: Nets<()>,
    endpoints: Ways<'a>,
}

impl Checks<'_> {
    fn table(&self, table: &RouteTableDraft, report: &mut Report<'_>) {
        let destinations = table.routes.iter();
        unique(
            destinations.filter_map(|route| route.destination.given()),
            |destination| format!("a route to {}", shown(destination)),
            "keep one route per destination in a table",
            report,
        );
        let (mut count, mut over) = (0, None);
        for route in &table.routes {
            let list = match route.destination.value() {
                Some(Destination::PrefixList(name)) => self.index.prefix_lists.get(name),
                _ => None,
            };
            count += list.map_or(1, |list| list.entries.items.len());
            if count > MAX_ROUTES {
                over = over.or(Some(&route.place));
            }
            // Many tables that go through long lists would take long.
            if list.is_none() || over.is_none() {
                self.destination(route, report);
            }
            self.target(route, report);
        }
        if let Some(place) = over {
            report.error(
                place,
                format!("too many routes in a table: {count}"),
                format!("keep at most {MAX_ROUTES}: a prefix list counts as its entries"),
            );
        }
    }

    fn destination(&self, route: &RouteDraft, report: &mut Report<'_>) {
        let Some(Located { value, place }) = route.destination.given() else {
            return;
        };
        if let Destination::PrefixList(name) = value {
            dangling("prefix list", place, name, &self.index.prefix_lists, report);
        }
        let shown = |prefix| Prefix {
            prefix,
            destination: value,
        };
        let mut prefixes = self.index.prefixes(value);
        if let Some(prefix) = prefixes.find(|prefix| RESERVED.contains(prefix)) {
            report.error(
                place,
                format!("{} lies in {RESERVED}, which is reserved", shown(prefix)),
                match value {
                    Destination::Cidr(_) => "remove the route",
                    Destination::PrefixList(_) => "remove the route or that entry of the list",
                },
            );
        }
        if let Some(target) = route.target.given() {
            self.local(value, place, target, report);
        }
    }

    /// Inside the VPC packets are local, unless a route for a part of its CIDR says otherwise.
    fn local(
        &self,
        destination: &Destination,
        place: &Place,
        target: &Located<Target>,
        report: &mut Report<'_>,
    ) {
        let shown = |prefix| Prefix {
            prefix,
            destination,
        };
        let mut prefixes = self.index.prefixes(destination);
        match target.value {
            Target::Local => {
                let outside = prefixes.find(|prefix| self.cidrs.around(*prefix).is_none());
                if let Some(prefix) = outside
                    && self.vpc.cidrs.complete
                {
                    report.error(
                        &target.place,
                        format!(
                            "{} lies in no CIDR of the VPC, so it is not local",
                            shown(prefix)
                        ),
                        "remove the route or choose another target",
                    );
                }
            }
            Target::InternetGateway => {
                let inside =
                    prefixes.find_map(|prefix| Some((prefix, self.cidrs.around(prefix)?.0)));
                if let Some((prefix, cidr)) = inside {
                    report.error(
                        place,
                        format!(
                            "{} lies in {cidr}, the VPC's own, and the internet gateway leads out of \
                             the VPC",
                            shown(prefix)
                        ),
                        "remove the route or choose another target",
                    );
                }
            }
            Target::NatGateway(_)
            | Target::Instance(_)
            | Target::Endpoint(_)
            | Target::Blackhole => {
                let own = |prefix: &Ipv4Net| {
                    self.cidrs
                        .around(*prefix)
                        .is_some_and(|(cidr, ())| cidr == *prefix)
                };
                if let Some(prefix) = prefixes.find(own) {
                    report.error(
                        place,
                        format!("{} is the VPC's own, which is always local", shown(prefix)),
                        "write routes for parts of it, or remove the route",
                    );
                }
            }
        }
    }

    fn target(&self, route: &RouteDraft, report: &mut Report<'_>) {
        let Some(Located { value, place }) = route.target.given() else {
            return;
        };
        match value {
            gone if self.vpc.gone.contains(gone) => {}
            Target::InternetGateway if !self.vpc.may_have_internet_gateway() => report.error(
                place,
                "the VPC has no internet gateway",
                "set internet_gateway = true on the VPC, or remove the route",
            ),
            Target::NatGateway(name) => {
                dangling("NAT gateway", place, name, &self.index.nat_gateways, report);
            }
            Target::Instance(name) => match self.index.instances.get(name) {
                Some(instance) => takes_what_is_not_its_own(instance, name, place, report),
                None => dangling("instance", place, name, &self.index.instances, report),
            },
            Target::Endpoint(name) => {
                match (self.index.endpoints.get(name), route.destination.given()) {
                    (Some(endpoint), destination) => {
                        takes_routes(endpoint, name, place, report);
                        if let Some(destination) = destination {
                            self.endpoints.destination(name, destination, report);
                        }
                    }
                    (None, _) => dangling("endpoint", place, name, &self.index.endpoints, report),
                }
            }
            Target::Local | Target::InternetGateway | Target::Blackhole => {}
        }
    }
}

fn takes_what_is_not_its_own(
    instance: &InstanceDraft,
    name: &str,
    place: &Place,
    report: &mut Report<'_>,
) {
    let checks = match &instance.source_dest_check {
        Read::Absent => true,
        Read::Broken => false,
        Read::Given(check) => check.value,
    };
    if checks {
        let position = report.position(&instance.place);
        report.error(
            place,
            format!(
                "instance {} ({position}) gets only what is to its own address, so nothing could be \
                 routed to it",
                quoted(name)
            ),
            "set source_dest_check = false on it, or choose another target",
        );
    }
}

/// A prefix with the list it is from.
struct Prefix<'a> {
    prefix: Ipv4Net,
    destination: &'a Destination,
}

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        match self.destination {
            Destination::Cidr(_) => Ok(()),
            Destination::PrefixList(name) => write!(f, " of prefix list {}", quoted(name)),
        }
    }
}

fn shown(destination: &Destination) -> String {
    match destination {
        Destination::Cidr(prefix) => prefix.to_string(),
        Destination::PrefixList(name) => format!("prefix list {}", quoted(name)),
    }
}
