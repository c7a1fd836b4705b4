//! Fragments in random traffic: in order and out of it, several datagrams at once,
//! some with the same identification.

use std::collections::VecDeque;

use super::traffic_errors::addresses_of;
use super::{Side, Traffic};
use crate::packets::{ETHERNET_LEN, PacketBuilder, fragments_of, protocol};

/// Datagrams whose fragments are on their way.
pub(super) type Pending = Vec<VecDeque<(Side, Vec<u8>)>>;

/// How many datagrams are on their way at once.
const AT_ONCE: usize = 3;

impl Traffic {
    /// The next fragment of one of the datagrams on their way, every other time.
    pub(super) fn pending_fragment(&mut self) -> Option<(Side, Vec<u8>)> {
        if self.pending.is_empty() || self.random.one_in(2) {
            return None;
        }
        let index = self.random.below(self.pending.len());
        let fragment = self.pending[index].pop_front();
        if self.pending[index].is_empty() {
            self.pending.remove(index);
        }
        fragment
    }

    /// Sends a datagram in fragments; this is the one that comes first.
    pub(super) fn fragments(&mut self) -> (Side, Vec<u8>) {
        let candidate = match self.random.below(8) {
            0 | 1 => self.new_connection(),
            2 => self.elastic_ip_packet(),
            3 => self.follow_up(),
            4 => self.reply(false),
            5 => self.hairpin(),
            6 => self.opening_forward(),
            _ => self.icmp_error(),
        };
        let (side, builder) = candidate.unwrap_or_else(|| self.unsolicited());
        if self.random.one_in(20) {
            return self.long_fragment(side, builder);
        }
        let length = 100 + self.random.below(1000);
        let builder = self.with_unusual_header(builder.payload_len(length));
        // Few identifications, so that datagrams are taken for each other.
        let whole = builder.id(self.random.below(4) as u16).build();
        let size = self.random.pick(&[64, 128, 256, 512]);
        let mut pieces = fragments_of(&whole, size);
        match self.random.below(8) {
            0..3 => {}
            3 | 4 => pieces.reverse(),
            5 => {
                let lost = self.random.below(pieces.len());
                pieces.remove(lost);
            }
            6 => {
                let twice = self.random.below(pieces.len());
                pieces.push(pieces[twice].clone());
            }
            _ => {
                for index in (1..pieces.len()).rev() {
                    let other = self.random.below(index + 1);
                    pieces.swap(index, other);
                }
            }
        }
        let mut pieces: VecDeque<_> = pieces.into_iter().map(|piece| (side, piece)).collect();
        let Some(first) = pieces.pop_front() else {
            return (side, whole);
        };
        if !pieces.is_empty() && self.pending.len() < AT_ONCE {
            self.pending.push(pieces);
        }
        first
    }

    /// A fragment that is longer than the interfaces take: a later one, or a first one
    /// with a short one behind it.
    fn long_fragment(&mut self, side: Side, builder: PacketBuilder) -> (Side, Vec<u8>) {
        let length = self.random.pick(&[1600, 2000, 2014, 2015, 2100]);
        let (from, to) = addresses_of(&builder.build());
        let is_first = self.random.one_in(2);
        let (protocol, payload) = if is_first {
            (builder.build()[ETHERNET_LEN + 9], 100)
        } else {
            (protocol::UDP, length)
        };
        let later = PacketBuilder::ip(from, to, protocol).payload_len(payload);
        let later = later.id(1).fragment(2400, !is_first).build();
        if !is_first {
            return (side, later);
        }
        if self.pending.len() < AT_ONCE {
            self.pending.push(VecDeque::from([(side, later)]));
        }
        let first = self.with_unusual_header(builder.payload_len(length));
        (side, first.id(1).fragment(0, true).build())
    }
}
