//! Compares what another NAT did with what the reference NAT allows.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::decide::Plan;
use super::{DropReason, Model, Output, Side};
use crate::packets::{ETHERNET_LEN, Packet, be16};

/// What another NAT did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actual<'a> {
    /// Handed this frame to the host; it must be as it came in.
    Pass(&'a [u8]),
    /// Dropped it.
    Drop(DropReason),
    /// Sent it on, translated.
    Forward {
        /// Where to; `None` when the test cannot see that.
        egress: Option<Side>,
        /// The frame; Ethernet addresses and what follows the IP packet do not count.
        frame: &'a [u8],
    },
    /// Answered with this frame; padding does not count.
    Reply(&'a [u8]),
}

impl Output {
    /// This output as one to be judged, for a packet that came in as `frame_in`.
    #[must_use]
    pub fn as_actual<'a>(&'a self, frame_in: &'a [u8]) -> Actual<'a> {
        match self {
            Self::Pass => Actual::Pass(frame_in),
            Self::Drop(reason) => Actual::Drop(*reason),
            Self::Forward { egress, frame } => Actual::Forward {
                egress: Some(*egress),
                frame,
            },
            Self::Reply(frame) => Actual::Reply(frame),
        }
    }
}

impl Model {
    /// Judges what another NAT did with `frame_in`, and does the same itself.
    ///
    /// A session that had to be opened gets the public IP and port that the
    /// other chose, see [`Model::adopt`]. Then verdict, reason, egress and every
    /// byte of the IP packet must be equal. After an error the two have parted:
    /// what follows means nothing.
    pub fn check(
        &mut self,
        now: Duration,
        ingress: Side,
        frame_in: &[u8],
        actual: Actual<'_>,
    ) -> Result<(), String> {
        let expected = match (self.plan(ingress, frame_in), actual) {
            (Plan::Open { gateway, flow }, Actual::Forward { frame, .. }) => {
                let public = source_of(frame)?;
                self.adopt(now, gateway, flow, public).map_err(|error| {
                    format!("{error}\n  packet from {ingress:?}: {}", describe(frame_in))
                })?;
                self.carry_out(now, Plan::Out(flow), frame_in)
            }
            // Not forwarded: right only if no port was free.
            (Plan::Open { .. }, _) => self.handle(now, ingress, frame_in),
            (plan, _) => self.carry_out(now, plan, frame_in),
        };
        compare(&expected, frame_in, actual)
            .map_err(|error| format!("{error}\n  packet from {ingress:?}: {}", describe(frame_in)))
    }
}

/// Source address and port of a translated packet; for ICMP the query id.
fn source_of(frame: &[u8]) -> Result<SocketAddrV4, String> {
    let packet = Packet::parse(frame)
        .map_err(|error| format!("what was forwarded is no packet: {error:?}"))?;
    let ip = packet.ipv4().ok_or("what was forwarded is not IPv4")?;
    Ok(ip.source())
}

fn compare(expected: &Output, frame_in: &[u8], actual: Actual<'_>) -> Result<(), String> {
    match (expected, actual) {
        (Output::Pass, Actual::Pass(frame)) if frame == frame_in => Ok(()),
        (Output::Pass, Actual::Pass(_)) => Err("passed to the host, but changed".into()),
        (Output::Drop(expected), Actual::Drop(actual)) if *expected == actual => Ok(()),
        (Output::Reply(expected), Actual::Reply(actual)) => {
            let answer = actual.get(..expected.len()).unwrap_or(actual);
            same_bytes(expected, answer, 0)
        }
        (
            Output::Forward { egress, frame },
            Actual::Forward {
                egress: other,
                frame: actual,
            },
        ) => {
            if other.is_some_and(|other| other != *egress) {
                return Err(format!(
                    "expected to leave by {egress:?}, left by {other:?}"
                ));
            }
            same_packet(frame, actual)
        }
        (expected, actual) => Err(format!(
            "expected {}, was {}",
            summary(expected.as_actual(frame_in)),
            summary(actual)
        )),
    }
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
    same_bytes(&expected[ETHERNET_LEN..end], actual, ETHERNET_LEN)
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

fn summary(actual: Actual<'_>) -> String {
    match actual {
        Actual::Pass(_) => "pass".into(),
        Actual::Drop(reason) => format!("drop ({})", reason.name()),
        Actual::Forward { frame, .. } => format!("forward: {}", describe(frame)),
        Actual::Reply(frame) => format!("reply: {}", describe(frame)),
    }
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
