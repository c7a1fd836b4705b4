//! Many CIDRs, asked which of them holds an address or another CIDR. The time a question takes does not
//! depend on how many there are, and they may overlap.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rustc_hash::FxHashMap;

/// CIDRs, each with a value; of two equal ones, the first counts.
pub struct Nets<T> {
    by_net: FxHashMap<Ipv4Net, T>,
    /// Bit n: there is one of prefix length n.
    lengths: u64,
}

impl<T> Nets<T> {
    /// The widest one around `inner`, which may be the same.
    pub fn around(&self, inner: Ipv4Net) -> Option<(Ipv4Net, &T)> {
        (0..=inner.prefix_len())
            .filter(|length| self.lengths & 1 << length != 0)
            .find_map(|length| {
                let outer = Ipv4Net::new(inner.network(), length).ok()?.trunc();
                Some((outer, self.by_net.get(&outer)?))
            })
    }

    /// The widest one that holds `address`.
    pub fn holding(&self, address: Ipv4Addr) -> Option<(Ipv4Net, &T)> {
        self.around(address.into())
    }
}

impl<T> FromIterator<(Ipv4Net, T)> for Nets<T> {
    fn from_iter<I: IntoIterator<Item = (Ipv4Net, T)>>(nets: I) -> Self {
        let (mut by_net, mut lengths) = (FxHashMap::default(), 0);
        for (net, value) in nets {
            lengths |= 1 << net.prefix_len();
            by_net.entry(net).or_insert(value);
        }
        Self { by_net, lengths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_one_is_found() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let nets: Nets<u8> = [("10.1.0.0/16", 1), ("10.0.0.0/12", 2), ("10.1.0.0/16", 3)]
            .map(|(text, value)| (net(text), value))
            .into_iter()
            .collect();
        let around = |text| nets.around(net(text)).map(|(net, value)| (net, *value));
        assert_eq!(around("10.1.2.0/24"), Some((net("10.0.0.0/12"), 2)));
        assert_eq!(around("10.0.0.0/12"), Some((net("10.0.0.0/12"), 2)));
        assert_eq!(around("10.0.0.0/11"), None);
        assert_eq!(around("10.16.0.0/16"), None);
        let holding = |text: &str| nets.holding(text.parse().unwrap()).is_some();
        assert!(holding("10.15.255.255") && !holding("10.16.0.0"));
        let only: Nets<()> = [(net("10.1.0.0/16"), ())].into_iter().collect();
        assert!(only.holding(Ipv4Addr::new(10, 1, 0, 0)).is_some());
        let all: Nets<()> = [(net("0.0.0.0/0"), ())].into_iter().collect();
        assert!(all.around(net("0.0.0.0/0")).is_some());
        assert!(all.holding(Ipv4Addr::BROADCAST).is_some());
    }
}
