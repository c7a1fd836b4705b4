//! Which ports a new session may get, in which order of preference.

use std::net::SocketAddrV4;
use std::ops::RangeInclusive;

use super::{Flow, NatGateway};

/// Ports of which any is as good as the other.
#[derive(Clone, Debug)]
pub(super) struct Rank {
    ranges: Vec<RangeInclusive<u16>>,
    /// Only even ports (0) or odd ones (1).
    parity: Option<u16>,
}

impl Rank {
    pub(super) fn contains(&self, port: u16) -> bool {
        self.has_parity_of(port) && self.ranges.iter().any(|range| range.contains(&port))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        let ports = self.ranges.iter().cloned().flatten();
        ports.filter(|&port| self.has_parity_of(port))
    }

    fn has_parity_of(&self, port: u16) -> bool {
        self.parity.is_none_or(|parity| port % 2 == parity)
    }
}

/// The ports of `pool` for a new session of `flow`: one of the first rank that
/// has a free one is to be taken.
pub(super) fn ranks(gateway: &NatGateway, pool: &[RangeInclusive<u16>], flow: &Flow) -> Vec<Rank> {
    let port = flow.inside.port();
    let any = Rank {
        ranges: pool.to_vec(),
        parity: None,
    };
    if !gateway.is_rfc() {
        let kept = Rank {
            ranges: within(pool, &(port..=port)),
            parity: None,
        };
        return vec![kept, any];
    }
    if gateway.deterministic.is_some() {
        return vec![any];
    }
    // RFC 4787 REQ-3a and REQ-4: the class of the port before its parity.
    let (low, high) = (0..=1023, 1024..=u16::MAX);
    let (same, other) = if port < 1024 {
        (low, high)
    } else {
        (high, low)
    };
    let mut ranks = Vec::new();
    for class in [same, other] {
        for parity in [port % 2, 1 - port % 2] {
            ranks.push(Rank {
                ranges: within(pool, &class),
                parity: Some(parity),
            });
        }
    }
    ranks
}

/// The parts of `ranges` that are in `limits`.
fn within(
    ranges: &[RangeInclusive<u16>],
    limits: &RangeInclusive<u16>,
) -> Vec<RangeInclusive<u16>> {
    let cut = ranges
        .iter()
        .map(|range| *range.start().max(limits.start())..=*range.end().min(limits.end()));
    cut.filter(|range| !range.is_empty()).collect()
}

/// The first port that is free, by preference.
pub(super) fn first_free(ranks: &[Rank], is_free: impl Fn(u16) -> bool) -> Option<u16> {
    ranks
        .iter()
        .flat_map(Rank::iter)
        .find(|&port| is_free(port))
}

/// Why `public` was not to be taken; `None` when it was allowed.
pub(super) fn objection(
    ranks: &[Rank],
    public: SocketAddrV4,
    is_free: impl Fn(u16) -> bool,
) -> Option<String> {
    let port = public.port();
    let Some(rank) = ranks.iter().position(|rank| rank.contains(port)) else {
        return Some(format!("port {port} is not in the pool"));
    };
    if !is_free(port) {
        return Some(format!("{public} is taken"));
    }
    let better = first_free(&ranks[..rank], is_free)?;
    Some(format!(
        "{public} was chosen, but port {better} was free and preferable"
    ))
}
