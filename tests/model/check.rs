//! Compares what another NAT did with what the reference NAT allows.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::{DropReason, Flow, Model, Output, Side, has_ports};
use crate::packets::{ETHERNET_LEN, Ipv4, Packet, be16, may_be_zeros_alone};

/// What another NAT did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actual<'a> {
    /// Handed this frame to the host; it must be as it came in.
    Pass(&'a [u8]),
    /// Dropped it.
    Drop(DropReason),
    /// Dropped it and answered.
    Refuse {
        /// Why it was dropped.
        reason: DropReason,
        /// The answer; padding does not count.
        reply: &'a [u8],
    },
    /// Sent it on, translated.
    Forward {
        /// Where to; `None` when the test cannot see that.
        egress: Option<Side>,
        /// Whom it was given to inside; `None` when the test cannot see that.
        next_hop: Option<Ipv4Addr>,
        /// The frame; Ethernet addresses and what follows the IP packet do not count.
        frame: &'a [u8],
    },
    /// Answered with this frame; padding does not count.
    Reply(&'a [u8]),
    /// Cut it, and did this with its fragments, in order.
    Cut(Vec<Actual<'a>>),
    /// Kept it until the first fragment of its datagram comes.
    Hold,
    /// Did this with a first fragment, then with those that it had kept, in order.
    Release(Vec<Actual<'a>>),
}

/// Where the choices come from that a NAT is free to make.
pub(super) enum Choice<'a> {
    /// The first that is allowed.
    Own,
    /// Those of another NAT.
    Of(OtherNat<'a>),
    /// Another NAT says that there is no port.
    NoPort,
}

/// The choices of another NAT.
pub(super) struct OtherNat<'a> {
    /// What it sent on.
    sent: Option<Ipv4>,
    /// Looks up what it translates a flow to.
    mapping: &'a mut dyn FnMut(&Flow) -> Option<SocketAddrV4>,
    /// A session that it was to open, and nobody knows with which port.
    unseen: Option<Flow>,
}

impl Choice<'_> {
    /// The public end for a new session; `None` to take the first that is allowed.
    pub(super) fn public(&mut self, flow: &Flow) -> Option<SocketAddrV4> {
        let Self::Of(other) = self else {
            return None;
        };
        let sent = other.sent.as_ref().map(Ipv4::source);
        let public = sent.or_else(|| (other.mapping)(flow));
        if public.is_none() {
            other.unseen = Some(*flow);
        }
        public
    }

    /// The IP identification of a fragment; `None` to take the first that is allowed.
    pub(super) fn id(&self) -> Option<u16> {
        match self {
            Self::Own | Self::NoPort => None,
            Self::Of(other) => other.sent.as_ref().map(|sent| sent.id),
        }
    }
}

impl Output {
    /// This output as one to be judged, for a packet that came in as `frame_in`.
    #[must_use]
    pub fn as_actual<'a>(&'a self, frame_in: &'a [u8]) -> Actual<'a> {
        match self {
            Self::Pass => Actual::Pass(frame_in),
            Self::Drop(reason) => Actual::Drop(*reason),
            Self::Refuse { reason, reply } => Actual::Refuse {
                reason: *reason,
                reply,
            },
            Self::Forward {
                egress,
                next_hop,
                frame,
            } => Actual::Forward {
                egress: Some(*egress),
                next_hop: *next_hop,
                frame,
            },
            Self::Reply(frame) => Actual::Reply(frame),
            Self::Hold => Actual::Hold,
            Self::Release(outputs) => Actual::Release(all_as_actual(outputs, frame_in)),
            Self::Cut(outputs) => Actual::Cut(all_as_actual(outputs, frame_in)),
        }
    }
}

fn all_as_actual<'a>(outputs: &'a [Output], frame_in: &'a [u8]) -> Vec<Actual<'a>> {
    let each = outputs.iter().map(|output| output.as_actual(frame_in));
    each.collect()
}

impl Model {
    /// Judges what another NAT did with `frame_in`, and does the same itself.
    ///
    /// What the other was free to choose is taken over if it was allowed: the public
    /// end of a new session, the IP identification of a fragment. Then verdict,
    /// reason, egress and every byte of the IP packet must be equal. After an error
    /// the two have parted: what follows means nothing.
    pub fn check(
        &mut self,
        now: Duration,
        ingress: Side,
        frame_in: &[u8],
        actual: &Actual<'_>,
    ) -> Result<(), String> {
        self.check_with(now, ingress, frame_in, actual, &mut |_| None)
    }

    /// [`Self::check`], for packets that open a session and are dropped: `mapping`
    /// is asked what the other NAT translates a flow to, after the packet.
    pub fn check_with(
        &mut self,
        now: Duration,
        ingress: Side,
        frame_in: &[u8],
        actual: &Actual<'_>,
        mapping: &mut dyn FnMut(&Flow) -> Option<SocketAddrV4>,
    ) -> Result<(), String> {
        let described =
            |error: String| format!("{error}\n  packet from {ingress:?}: {}", describe(frame_in));
        let mut choice = Choice::Of(OtherNat {
            sent: sent(actual).and_then(|frame| Packet::parse(frame).ok()?.ipv4().cloned()),
            mapping,
            unseen: None,
        });
        let expected = self
            .process(now, ingress, frame_in, &mut choice)
            .map_err(described)?;
        compare(&expected, frame_in, actual).map_err(described)?;
        match choice {
            Choice::Of(OtherNat {
                unseen: Some(flow), ..
            }) => Err(described(format!(
                "a session of {flow:?} was to be opened, and is not there"
            ))),
            _ => Ok(()),
        }
    }

    /// What this NAT does with `frame` if it translates flows as another NAT does, which `mapping` says.
    pub fn handle_as(
        &mut self,
        now: Duration,
        ingress: Side,
        frame: &[u8],
        mapping: &mut dyn FnMut(&Flow) -> Option<SocketAddrV4>,
    ) -> Result<Output, String> {
        let mut choice = Choice::Of(OtherNat {
            sent: None,
            mapping,
            unseen: None,
        });
        self.process(now, ingress, frame, &mut choice)
    }

    /// [`Self::check`], where the other NAT may say that it has no port although one is free again:
    /// it remembers for a moment that there was none.
    pub fn check_without_port(
        &mut self,
        now: Duration,
        ingress: Side,
        frame_in: &[u8],
        actual: &Actual<'_>,
    ) -> Result<(), String> {
        let expected = self.process(now, ingress, frame_in, &mut Choice::NoPort)?;
        compare(&expected, frame_in, actual)
    }
}

/// The frame that was sent on.
fn sent<'a>(actual: &Actual<'a>) -> Option<&'a [u8]> {
    match actual {
        Actual::Forward { frame, .. } => Some(frame),
        Actual::Release(all) | Actual::Cut(all) => {
            let mut frames = all.iter().filter_map(sent);
            let first = frames.clone().next();
            frames.find(|frame| has_ports(frame)).or(first)
        }
        _ => None,
    }
}

fn compare(expected: &Output, frame_in: &[u8], actual: &Actual<'_>) -> Result<(), String> {
    match (expected, actual) {
        (Output::Pass, Actual::Pass(frame)) if *frame == frame_in => Ok(()),
        (Output::Pass, Actual::Pass(_)) => Err("passed to the host, but changed".into()),
        (Output::Drop(expected), Actual::Drop(actual)) if expected == actual => Ok(()),
        (Output::Hold, Actual::Hold) => Ok(()),
        (Output::Reply(expected), Actual::Reply(actual)) => same_answer(expected, actual),
        (
            Output::Refuse { reason, reply },
            Actual::Refuse {
                reason: other,
                reply: actual,
            },
        ) if reason == other => same_answer(reply, actual),
        (
            Output::Forward {
                egress,
                next_hop,
                frame,
            },
            Actual::Forward {
                egress: other,
                next_hop: other_hop,
                frame: actual,
            },
        ) => {
            if other.is_some_and(|other| other != *egress) {
                return Err(format!(
                    "expected to leave by {egress:?}, left by {other:?}"
                ));
            }
            if other_hop.is_some() && other_hop != next_hop {
                return Err(format!(
                    "expected to be given to {next_hop:?}, was given to {other_hop:?}"
                ));
            }
            same_packet(frame, actual)
        }
        (Output::Release(expected), Actual::Release(actual))
        | (Output::Cut(expected), Actual::Cut(actual))
            if expected.len() == actual.len() =>
        {
            for (number, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                let is_pass = matches!((expected, actual), (Output::Pass, Actual::Pass(_)));
                if !is_pass {
                    compare(expected, frame_in, actual)
                        .map_err(|error| format!("fragment {number}: {error}"))?;
                }
            }
            Ok(())
        }
        (expected, actual) => Err(format!(
            "expected {}, was {}",
            summary(&expected.as_actual(frame_in)),
            summary(actual)
        )),
    }
}

fn same_answer(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    same_bytes(expected, actual.get(..expected.len()).unwrap_or(actual), 0)
}

fn same_packet(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    if actual.len() < ETHERNET_LEN || be16(actual, 12) != be16(expected, 12) {
        return Err("what was forwarded is not IPv4 in Ethernet".into());
    }
    let length = usize::from(be16(expected, ETHERNET_LEN + 2));
    let end = ETHERNET_LEN + length;
    let actual = actual
        .get(ETHERNET_LEN..actual.len().min(end))
        .unwrap_or_default();
    let mut expected = expected[ETHERNET_LEN..end].to_vec();
    let checksum = usize::from(expected[0] & 0xf) * 4 + 2;
    let field = checksum..checksum + 2;
    if may_be_zeros_alone(&expected)
        && expected[field.clone()] == [0, 0]
        && actual.get(field.clone()) == Some(&[0xff, 0xff])
    {
        expected[field].fill(0xff);
    }
    same_bytes(&expected, actual, ETHERNET_LEN)
}

/// Names the bytes that differ; `base` is where the slices begin in the frame.
fn same_bytes(expected: &[u8], actual: &[u8], base: usize) -> Result<(), String> {
    let mut differences = Vec::new();
    if expected.len() != actual.len() {
        differences.push(format!(
            "expected {} bytes, got {}",
            expected.len(),
            actual.len()
        ));
    }
    let pairs = expected.iter().zip(actual).enumerate();
    for (index, (expected, actual)) in pairs.filter(|(_, (expected, actual))| expected != actual) {
        let field = if base == ETHERNET_LEN {
            field_name(index)
        } else {
            ""
        };
        let offset = base + index;
        differences.push(format!(
            "byte {offset}{field}: expected {expected:02x}, got {actual:02x}"
        ));
    }
    // A shifted packet differs everywhere: the first few tell enough.
    let more = differences.len().saturating_sub(12);
    differences.truncate(12);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.join("; "))
    }
}

/// The field of an IP header that a byte belongs to.
fn field_name(index: usize) -> &'static str {
    match index {
        0 => " (version, IHL)",
        1 => " (TOS)",
        2..4 => " (total length)",
        4..6 => " (identification)",
        6..8 => " (flags, fragment offset)",
        8 => " (TTL)",
        9 => " (protocol)",
        10..12 => " (IP checksum)",
        12..16 => " (source)",
        16..20 => " (destination)",
        _ => "",
    }
}

fn summary(actual: &Actual<'_>) -> String {
    match actual {
        Actual::Pass(_) => "pass".into(),
        Actual::Drop(reason) => format!("drop ({})", reason.name()),
        Actual::Forward { frame, .. } => format!("forward: {}", describe(frame)),
        Actual::Reply(frame) => format!("reply: {}", describe(frame)),
        Actual::Refuse { reason, reply } => {
            format!("drop ({}) and reply: {}", reason.name(), describe(reply))
        }
        Actual::Hold => "hold".into(),
        Actual::Release(all) => format!("release: {}", summaries(all)),
        Actual::Cut(all) => format!("cut: {}", summaries(all)),
    }
}

fn summaries(all: &[Actual<'_>]) -> String {
    let all: Vec<_> = all.iter().map(summary).collect();
    all.join("; ")
}

/// A frame in one line: ends and protocol when it parses, and its bytes.
fn describe(frame: &[u8]) -> String {
    let what = match Packet::parse(frame) {
        Err(error) => format!("malformed ({error:?})"),
        Ok(packet) => match packet.ipv4() {
            Some(ip) => format!(
                "protocol {} {} > {}",
                ip.protocol,
                ip.source(),
                ip.destination()
            ),
            None => format!("Ethernet type {:#06x}", packet.ethernet.ethertype),
        },
    };
    let bytes: String = frame
        .iter()
        .take(96)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let rest = if frame.len() > 96 { "..." } else { "" };
    format!("{what} [{} bytes: {bytes}{rest}]", frame.len())
}
