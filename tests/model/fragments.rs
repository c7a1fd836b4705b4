//! Fragments on their way through a NAT gateway: the first one has the ports, the
//! others share its fate.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::check::Choice;
use super::clock::{is_longer_ago, tick};
use super::decide::{Arrival, Stop, Way, is_later_fragment};
use super::process::ip_of;
use super::sender::Origin;
use super::{DropReason, End, Model, Output, Side};
use crate::packets::Ipv4;

/// How long a first fragment is remembered, and a later one held.
const REMEMBERED: Duration = Duration::from_secs(30);
const LONGEST_HELD: usize = 2048;
const HELD_PER_DATAGRAM: usize = 64;
const HELD_IN_ALL: usize = 512;

/// What tells that fragments are of one datagram (RFC 791).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Datagram {
    /// The interface and the station that it comes from, inside.
    sender: Option<(u32, [u8; 6])>,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    id: u16,
    protocol: u8,
}

/// What became of a first fragment.
#[derive(Clone, Debug)]
enum Fate {
    Passed,
    Dropped,
    Sent(Way),
}

/// An IP identification as a receiver of many hidden senders sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SentId {
    public: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    id: u16,
}

#[derive(Clone, Debug)]
struct Held {
    datagram: Datagram,
    since: u64,
    ingress: Side,
    frame: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    /// First fragments, and when they came.
    seen: HashMap<Datagram, (u64, Fate)>,
    /// Datagrams of which something came before the configuration was last changed.
    earlier: HashSet<Datagram>,
    /// One whose later fragments go where the first one went, whatever was changed.
    followed: Option<Datagram>,
    /// Identifications that were given away, when and for what.
    ids: HashMap<SentId, (u64, Datagram)>,
    next_id: u16,
    /// Oldest first.
    held: VecDeque<Held>,
}

impl Datagram {
    fn of(packet: &Arrival<'_>) -> Self {
        let mut station = [0; 6];
        station.copy_from_slice(&packet.frame[6..12]);
        let sender = match packet.ingress {
            Side::Inside(interface) => Some((interface, station)),
            Side::Uplink => None,
        };
        Self {
            sender,
            src: packet.ip.src,
            dst: packet.ip.dst,
            id: packet.ip.id,
            protocol: packet.ip.protocol,
        }
    }
}

impl Fragments {
    /// Forgets what is too old to matter.
    pub(super) fn forget(&mut self, now: Duration) {
        let is_recent = |since: u64| !is_longer_ago(now, since, REMEMBERED);
        self.seen.retain(|_, (since, _)| is_recent(*since));
        self.ids.retain(|_, (since, _)| is_recent(*since));
        self.held.retain(|held| is_recent(held.since));
    }

    /// What is decided from now on is decided under another configuration.
    pub(super) fn change(&mut self) {
        self.earlier.extend(self.seen.keys());
        self.earlier
            .extend(self.held.iter().map(|held| held.datagram));
    }
}

impl Model {
    /// Where a later fragment goes: where its first one went.
    pub(super) fn later_fragment(&self, packet: &Arrival<'_>) -> Result<Way, Stop> {
        match self.fragments.seen.get(&Datagram::of(packet)) {
            Some((since, fate)) if !is_longer_ago(packet.now, *since, REMEMBERED) => match fate {
                Fate::Passed => Err(Stop::Pass),
                Fate::Dropped => Err(Stop::drop(DropReason::Fragment)),
                Fate::Sent(way) => Ok(way.clone()),
            },
            _ => Err(Stop::Early),
        }
    }

    /// Other NATs that are right, too, when this is a later fragment of a datagram whose first one
    /// was decided under an earlier configuration: one that has forgotten that, because ports
    /// did not count, and one that goes by that alone.
    #[must_use]
    pub fn after_a_change(&self, ingress: Side, frame: &[u8]) -> Vec<Self> {
        let Some(ip) = ip_of(frame).filter(is_later_fragment) else {
            return Vec::new();
        };
        let datagram = Datagram::of(&Arrival {
            now: Duration::ZERO,
            ingress,
            origin: self.config.origin(ingress, frame, ip.src),
            frame,
            ip: &ip,
        });
        if !self.fragments.earlier.contains(&datagram) {
            return Vec::new();
        }
        let mut forgetful = self.clone();
        forgetful.fragments.earlier.remove(&datagram);
        forgetful.fragments.seen.remove(&datagram);
        let mut faithful = self.clone();
        faithful.fragments.followed = Some(datagram);
        vec![forgetful, faithful]
    }

    /// Whether all that counts for a packet is what became of its first fragment.
    pub(super) fn is_followed(&self, packet: &Arrival<'_>) -> bool {
        is_later_fragment(packet.ip) && self.fragments.followed == Some(Datagram::of(packet))
    }

    /// Keeps a later fragment until its first one comes, where there is room.
    pub(super) fn hold(&mut self, packet: &Arrival<'_>) -> Output {
        if !self.config.holds_fragments {
            return Output::Pass;
        }
        if packet.frame.len() > LONGEST_HELD {
            return Output::Drop(DropReason::Fragment);
        }
        let datagram = Datagram::of(packet);
        let held = &mut self.fragments.held;
        let same = held.iter().filter(|held| held.datagram == datagram).count();
        let lost = if same >= HELD_PER_DATAGRAM {
            held.iter().position(|held| held.datagram == datagram)
        } else {
            (held.len() >= HELD_IN_ALL).then_some(0)
        };
        if let Some(oldest) = lost {
            held.remove(oldest);
        }
        held.push_back(Held {
            datagram,
            since: tick(packet.now),
            ingress: packet.ingress,
            frame: packet.frame.to_vec(),
        });
        Output::Hold
    }

    /// Gives a first fragment on its way out an identification that no other recent
    /// datagram from its public IP to the same receiver has (RFC 6864, 7857 section 9).
    pub(super) fn give_id(
        &mut self,
        packet: &Arrival<'_>,
        way: &mut Way,
        choice: &Choice<'_>,
    ) -> Result<(), Stop> {
        let hiding = way.legs.iter().find(|leg| leg.hides_sender);
        let Some(public) = hiding
            .and_then(|leg| leg.change)
            .map(|change| change.address)
        else {
            return Ok(());
        };
        let datagram = Datagram::of(packet);
        let changes = || way.legs.iter().filter_map(|leg| leg.change);
        let to_inside = changes().find(|change| change.end == End::Destination);
        let receiver = to_inside.map_or(packet.ip.dst, |change| change.address);
        let sent = |id| SentId {
            public,
            dst: receiver,
            protocol: packet.ip.protocol,
            id,
        };
        let ids = &self.fragments.ids;
        let is_free = |id: u16| match ids.get(&sent(id)) {
            Some((since, other)) => {
                *other == datagram || is_longer_ago(packet.now, *since, REMEMBERED)
            }
            None => true,
        };
        let id = match choice.id() {
            Some(id) if is_free(id) => id,
            Some(id) => {
                let same = sent(id);
                return Err(Stop::Complaint(format!(
                    "the identification {id:#06x} is another datagram's, too: {same:?}"
                )));
            }
            None => {
                let next = self.fragments.next_id;
                let known = match self.fragments.seen.get(&datagram) {
                    Some((_, Fate::Sent(known))) => known.id,
                    _ => None,
                };
                let mut ids = known
                    .into_iter()
                    .chain((0..=u16::MAX).map(|offset| next.wrapping_add(offset)));
                ids.find(|&id| is_free(id)).unwrap_or(next)
            }
        };
        let entry = sent(id);
        self.fragments
            .ids
            .insert(entry, (tick(packet.now), datagram));
        self.fragments.next_id = id.wrapping_add(1);
        way.id = Some(id);
        if let Some((_, Fate::Sent(known))) = self.fragments.seen.get_mut(&datagram) {
            known.id = Some(id);
        }
        Ok(())
    }

    /// Remembers what became of a first fragment. What a forger sends under another's
    /// address is not the other's: false.
    pub(super) fn remember(
        &mut self,
        packet: &Arrival<'_>,
        way: Option<Way>,
        output: &Output,
    ) -> bool {
        if matches!(packet.origin, Origin::Nobody(_) | Origin::Forger) {
            return false;
        }
        let fate = match (way, output) {
            // Handed up by a NAT that does not cut, with its fate decided.
            (Some(way), Output::Forward { .. } | Output::Cut(_) | Output::Pass) => {
                Fate::Sent(way.for_later_fragments())
            }
            (_, Output::Pass) => Fate::Passed,
            _ => Fate::Dropped,
        };
        let entry = (tick(packet.now), fate);
        let datagram = Datagram::of(packet);
        self.fragments.seen.insert(datagram, entry);
        // What waited since before a change is let go by it whatever counts now.
        let mut held = self.fragments.held.iter();
        if !held.any(|held| held.datagram == datagram) {
            self.fragments.earlier.remove(&datagram);
        }
        self.fragments
            .followed
            .take_if(|followed| *followed == datagram);
        true
    }

    /// Takes out what waited for a first fragment, in the order in which it came.
    pub(super) fn released(&mut self, packet: &Arrival<'_>) -> Vec<(Side, Vec<u8>)> {
        let datagram = Datagram::of(packet);
        let now = packet.now;
        let held = std::mem::take(&mut self.fragments.held);
        let (released, held): (VecDeque<_>, _) =
            held.into_iter().partition(|held| held.datagram == datagram);
        self.fragments.held = held;
        let recent = released
            .into_iter()
            .filter(|held| !is_longer_ago(now, held.since, REMEMBERED));
        recent.map(|held| (held.ingress, held.frame)).collect()
    }
}

impl Way {
    /// Addresses alone: later fragments have no ports, and count nowhere.
    fn for_later_fragments(mut self) -> Self {
        for leg in &mut self.legs {
            leg.carried = None;
            if let Some(change) = &mut leg.change {
                change.port = None;
            }
        }
        self
    }
}

/// Whether a packet is a first fragment.
pub(super) fn is_first(ip: &Ipv4) -> bool {
    ip.more_fragments && ip.fragment_offset == 0
}
