//! Addresses that are inside and outside at once (RFC 4787 REQ-7). The file alone does not show it: the
//! uplink has its networks from elsewhere, often by DHCP.

use std::fmt;

use ipnet::Ipv4Net;

use crate::{
    config::Config,
    error::{Error, Result},
    host::HostInterface,
};

/// A network of an uplink that has addresses in common with what is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The uplink.
    pub uplink: String,
    /// Its network.
    pub network: Ipv4Net,
    /// Where the same addresses are inside.
    pub inside: Inside,
    /// What they are a part of there.
    pub cidr: Ipv4Net,
}

/// The other side of an [`Overlap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// In a subnet on this interface.
    On(String),
    /// In no subnet, but in the range of this VPC, which is inside as a whole.
    Vpc(String),
}

impl Overlap {
    /// The host has a route for these addresses to one of the two interfaces only: nobody on the other
    /// one is reached. Where one network is a part of the other, the rest of that one is.
    pub fn is_whole(&self) -> bool {
        matches!(self.inside, Inside::On(_)) && self.cidr == self.network
    }

    /// The addresses that both have.
    pub fn shared(&self) -> Ipv4Net {
        if self.network.contains(&self.cidr) {
            self.cidr
        } else {
            self.network
        }
    }
}

/// For people, with what comes of it.
impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uplink,
            network,
            inside,
            cidr,
        } = self;
        let shared = self.shared();
        match inside {
            Inside::On(inside) if self.is_whole() => write!(
                f,
                "{network} is the network of uplink {uplink} and of hosts inside on {inside}: those on \
                 one of the two are not reached"
            ),
            Inside::On(inside) => write!(
                f,
                "{network} of uplink {uplink} and {cidr} inside on {inside} overlap: of the hosts in \
                 {shared}, those on one of the two are not reached"
            ),
            Inside::Vpc(vpc) => write!(
                f,
                "{network} of uplink {uplink} and {cidr} of VPC {vpc} overlap: the hosts of the uplink in \
                 {shared} are taken for the VPC's, and not reached from inside"
            ),
        }
    }
}

/// Every overlap between the uplinks' networks and what is inside. A subnet on the uplink itself (one
/// arm) is none: the hosts inside are its neighbours.
pub fn overlaps(config: &Config, interfaces: &[HostInterface]) -> Vec<Overlap> {
    let uplinks = interfaces
        .iter()
        .filter(|interface| config.node.uplinks.contains(&interface.name));
    uplinks
        .flat_map(|uplink| {
            let networks = uplink.addresses.iter().map(Ipv4Net::trunc);
            networks.flat_map(|network| of_network(config, &uplink.name, network))
        })
        .collect()
}

fn of_network(config: &Config, uplink: &str, network: Ipv4Net) -> Vec<Overlap> {
    let meets = |cidr: &Ipv4Net| cidr.contains(&network) || network.contains(cidr);
    let overlap = |inside: Inside, cidr: Ipv4Net| Overlap {
        uplink: uplink.to_owned(),
        network,
        inside,
        cidr,
    };
    let mut found = Vec::new();
    for vpc in &config.vpcs {
        let mut subnets = vpc
            .subnets
            .iter()
            .filter(|subnet| meets(&subnet.cidr))
            .peekable();
        if subnets.peek().is_none() {
            let cidrs = vpc.cidrs.iter().filter(|cidr| meets(cidr));
            found.extend(cidrs.map(|cidr| overlap(Inside::Vpc(vpc.name.clone()), *cidr)));
        }
        let elsewhere = subnets.filter(|subnet| subnet.interface != uplink);
        found.extend(
            elsewhere.map(|subnet| overlap(Inside::On(subnet.interface.clone()), subnet.cidr)),
        );
    }
    found
}

/// Refuses what can't work, and warns of what works in part.
///
/// # Errors
///
/// [`Error::Overlap`].
pub fn check(config: &Config, interfaces: &[HostInterface]) -> Result<()> {
    for overlap in overlaps(config, interfaces) {
        if overlap.is_whole() {
            return Err(Error::Overlap(overlap));
        }
        log::warn!("{overlap}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn found(subnet: &str, interface: &str, uplink: &str) -> Vec<Overlap> {
        let text = format!(
            "node = {{ uplink = [\"up0\"] }}\n[[vpc]]\nname = \"main\"\ncidrs = [\"10.0.0.0/8\"]\n\
             subnet = [{{ name = \"a\", cidr = \"{subnet}\", interface = \"{interface}\" }}]"
        );
        let config = config::parse("f", &text).unwrap();
        let interface = |name: &str, address: &str| HostInterface {
            name: name.to_owned(),
            index: 1,
            mac: Default::default(),
            addresses: vec![address.parse().unwrap()],
            is_physical: false,
            is_services: false,
        };
        overlaps(
            &config,
            &[interface("up0", uplink), interface("in0", "10.0.1.1/24")],
        )
    }

    #[test]
    fn rfc4787_req7_a_network_that_is_inside_and_outside_is_found() {
        let same = found("10.0.1.0/24", "in0", "10.0.1.7/24");
        assert!(
            matches!(same.as_slice(), [one] if one.is_whole()),
            "{same:?}"
        );
        for (subnet, uplink, shared) in [
            ("10.0.0.0/16", "10.0.1.7/24", "10.0.1.0/24"),
            ("10.0.1.0/24", "10.0.0.7/16", "10.0.1.0/24"),
            ("10.0.1.0/24", "10.0.1.7/32", "10.0.1.7/32"),
        ] {
            let part = found(subnet, "in0", uplink);
            let [one] = part.as_slice() else {
                panic!("{subnet} {uplink}: {part:?}");
            };
            assert!(!one.is_whole());
            assert_eq!(one.shared().to_string(), shared);
        }
        // In the VPC, but in no subnet.
        let part = found("10.0.1.0/24", "in0", "10.0.2.7/24");
        let [one] = part.as_slice() else {
            panic!("{part:?}");
        };
        assert_eq!(one.inside, Inside::Vpc("main".to_owned()));
        assert!(!one.is_whole());
        assert_eq!(one.shared().to_string(), "10.0.2.0/24");
        assert_eq!(found("10.0.1.0/24", "in0", "198.51.100.7/24"), []);
    }

    #[test]
    fn one_arm_is_no_overlap() {
        assert_eq!(found("10.0.1.0/24", "up0", "10.0.1.7/24"), []);
        assert_eq!(found("10.0.0.0/16", "up0", "10.0.1.7/24"), []);
    }
}
