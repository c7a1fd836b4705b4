//! Proxies. Their keys (`parse`, `draft`), what they become (`types`), and here their checks.

mod draft;
mod parse;
pub mod types;

pub use draft::ProxyDraft;
pub use parse::proxy;

use rustc_hash::FxHashMap;

use super::balancing::health;
use super::draft::VpcDraft;
use super::index::Index;
use super::place::{List, Located, Place, Read, Report};
use super::suggest::quoted;
use super::validate::{dangling, limit, unique, unique_names};
use types::{DEFAULT_PROXY_PORTS, MAX_PROXY_PORTS};

const MAX_PROXIES: usize = 64;

/// Reports the mistakes in a VPC's proxies.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let names = vpc.proxies.iter().map(|proxy| &proxy.name);
    unique_names("proxy", names, report);
    let places = vpc.proxies.iter().map(|proxy| &proxy.place);
    limit("proxies in a VPC", MAX_PROXIES, places, report);
    let mut claims = Claims::default();
    for proxy in &vpc.proxies {
        instance(proxy, index, report);
        lists(proxy, index, report);
        if let Some(check) = &proxy.health_check {
            health::check(check, report);
        }
        claims.check(proxy, report);
    }
}

fn instance(proxy: &ProxyDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let Some(Located { value, place }) = proxy.instance.given() else {
        return;
    };
    let Some(instance) = index.instances.get(value) else {
        dangling("instance", place, value, &index.instances, report);
        return;
    };
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
                "instance {} ({position}) gets only what is to its own address, so it can be no proxy for \
                 others",
                quoted(value)
            ),
            "set source_dest_check = false on it, or name another",
        );
    }
}

fn lists(proxy: &ProxyDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let ports = &proxy.ports;
    not_empty(ports, "the proxy is for no port", "80 and 443", report);
    let places = ports.items.iter().map(|port| &port.place);
    limit("ports of a proxy", MAX_PROXY_PORTS, places, report);
    let show = |port: &u16| format!("port {port}");
    unique(ports.items.iter(), show, "name each port once", report);

    let subnets = &proxy.subnets;
    let all = "all subnets of the VPC";
    not_empty(subnets, "the proxy is for no subnet", all, report);
    let show = |name: &String| format!("subnet {}", quoted(name));
    unique(subnets.items.iter(), show, "name each subnet once", report);
    for Located { value, place } in &subnets.items {
        dangling("subnet", place, value, &index.subnets, report);
    }
}

fn not_empty<T>(list: &List<T>, message: &str, without: &str, report: &mut Report<'_>) {
    if let Some(place) = &list.place
        && list.items.is_empty()
        && list.complete
    {
        report.error(
            place,
            message,
            format!("name one, or leave the key out: it is for {without} then"),
        );
    }
}

/// Which connections have a proxy.
#[derive(Default)]
struct Claims<'a> {
    /// The first proxy for a port, in any subnet.
    by_port: FxHashMap<u16, &'a ProxyDraft>,
    /// By port and subnet; `None`: all subnets.
    by_subnet: FxHashMap<(u16, Option<&'a str>), &'a ProxyDraft>,
}

impl<'a> Claims<'a> {
    /// Reports a proxy for what another one is for, and takes down what it is for.
    fn check(&mut self, proxy: &'a ProxyDraft, report: &mut Report<'_>) {
        if !proxy.subnets.complete {
            return;
        }
        let ports: Vec<(u16, &Place)> = match &proxy.ports.place {
            None => DEFAULT_PROXY_PORTS.map(|port| (port, &proxy.place)).into(),
            Some(_) => {
                let ports = proxy.ports.items.iter();
                ports.map(|port| (port.value, &port.place)).collect()
            }
        };
        let named = || proxy.subnets.items.iter().map(|name| name.value.as_str());
        let subnets: Vec<Option<&str>> = match &proxy.subnets.place {
            None => vec![None],
            Some(_) => named().map(Some).collect(),
        };
        let earlier = |port: u16| {
            let mut subnets = subnets.iter();
            subnets.find_map(|subnet| {
                let other = match subnet {
                    None => self.by_port.get(&port),
                    Some(_) => {
                        let of_all = self.by_subnet.get(&(port, None));
                        of_all.or_else(|| self.by_subnet.get(&(port, *subnet)))
                    }
                };
                Some((*subnet, *other?))
            })
        };
        let other = ports
            .iter()
            .find_map(|(port, place)| Some((*port, *place, earlier(*port)?)));
        if let Some((port, place, (subnet, other))) = other
            && !std::ptr::eq(other, proxy)
        {
            let position = report.position(&other.place);
            let subnet = subnet.map_or_else(String::new, |subnet| {
                format!(" from subnet {}", quoted(subnet))
            });
            report.error(
                place,
                format!("connections{subnet} to port {port} have a proxy already ({position})"),
                "leave each port of a subnet to one proxy",
            );
        }
        for (port, _) in ports {
            self.by_port.entry(port).or_insert(proxy);
            for subnet in &subnets {
                self.by_subnet.entry((port, *subnet)).or_insert(proxy);
            }
        }
    }
}
