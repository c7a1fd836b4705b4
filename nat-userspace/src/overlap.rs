//! Addresses that are inside and outside at once (RFC 4787 REQ-7). The file alone does not show it: the
//! uplink has its networks from elsewhere, often by DHCP.

use std::fmt;

use ipnet::Ipv4Net;

use crate::{
    config::{Config, Subnet},
    error::{Error, Result},
    host::HostInterface,
};

/// A network of an uplink that has addresses in common with a subnet on another interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The uplink.
    pub uplink: String,
    /// Its network.
    pub network: Ipv4Net,
    /// The subnet's interface.
    pub inside: String,
    /// The subnet's addresses.
    pub cidr: Ipv4Net,
}

impl Overlap {
    /// The host has a route for these addresses to one of the two interfaces only: nobody on the other
    /// one is reached. Where one network is a part of the other, the rest of that one is.
    pub fn is_whole(&self) -> bool {
        self.cidr == self.network
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
        if self.is_whole() {
            write!(
                f,
                "{network} is the network of uplink {uplink} and of hosts inside on {inside}: those on \
                 one of the two are not reached"
            )
        } else {
            let shared = self.shared();
            write!(
                f,
                "{network} of uplink {uplink} and {cidr} inside on {inside} overlap: of the hosts in \
                 {shared}, those on one of the two are not reached"
            )
        }
    }
}

/// Every overlap between the uplinks' networks and the subnets. A subnet on the uplink itself (one arm)
/// is none: the hosts inside are its neighbours.
pub fn overlaps(config: &Config, interfaces: &[HostInterface]) -> Vec<Overlap> {
    let uplinks = interfaces
        .iter()
        .filter(|interface| config.node.uplinks.contains(&interface.name));
    let networks: Vec<(&String, Ipv4Net)> = uplinks
        .flat_map(|uplink| {
            let networks = uplink.addresses.iter();
            networks.map(|network| (&uplink.name, network.trunc()))
        })
        .collect();
    let subnets = config.vpcs.iter().flat_map(|vpc| &vpc.subnets);
    let meets = |subnet: &Subnet, uplink: &str, network: &Ipv4Net| {
        let cidr = &subnet.cidr;
        subnet.interface != uplink && (cidr.contains(network) || network.contains(cidr))
    };
    subnets
        .flat_map(|subnet| {
            networks
                .iter()
                .filter(|(uplink, network)| meets(subnet, uplink, network))
                .map(|(uplink, network)| Overlap {
                    uplink: (*uplink).clone(),
                    network: *network,
                    inside: subnet.interface.clone(),
                    cidr: subnet.cidr,
                })
        })
        .collect()
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
        assert_eq!(found("10.0.1.0/24", "in0", "10.0.2.7/24"), []);
        assert_eq!(found("10.0.1.0/24", "in0", "198.51.100.7/24"), []);
    }

    #[test]
    fn one_arm_is_no_overlap() {
        assert_eq!(found("10.0.1.0/24", "up0", "10.0.1.7/24"), []);
        assert_eq!(found("10.0.0.0/16", "up0", "10.0.1.7/24"), []);
    }
}
