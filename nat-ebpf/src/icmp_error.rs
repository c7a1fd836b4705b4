//! ICMP errors about translated packets (RFC 5508): what they quote names the session. They never
//! open, refresh or end one (REQ-6; RFC 4787 REQ-12, RFC 5382 REQ-10).

use nat_common::{
    address::Address,
    drop_reason::DropReason,
    flow::Flow,
    icmp_error::{self, Translated},
    map_types::{ERROR_STAGE, SessionKey},
    parse::{IPV4_OFFSET, Ipv4Packet},
    policy::{self, Decision, Inside, Session},
    sessions::is_tracker,
};

use crate::{
    decisions,
    forward::{Hook, NextHop, find_next_hop},
    halves::{find_half, is_in_use},
    plan::{self, Carrier, Plan},
    sum, unknown,
    verdict::Verdict,
};

/// Ethernet, two of the longest IPv4 headers, ICMP's and TCP's: all that is read or written.
const HEADERS: u32 = 14 + 60 + 8 + 60 + 20;

/// What is done to one end of an error, and to the other end of the packet it quotes. Without
/// payloads: of an enum that is passed on, part would be uninitialised.
#[derive(Clone, Copy)]
pub struct Way {
    kind: Kind,
    value: Address,
    /// The VPC it comes from or goes to; 0 where none counts.
    vpc: u16,
    /// It must be about a session, because security groups stand there.
    is_tracked: bool,
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    OutOfGateway,
    OutOfInstance,
    IntoGateway,
    IntoInstance,
}

impl Way {
    /// Nothing.
    pub const NONE: Self = Self::of(Kind::None, Address::UNSPECIFIED, 0, false);

    #[inline(always)]
    const fn of(kind: Kind, value: Address, vpc: u16, is_tracked: bool) -> Self {
        Self {
            kind,
            value,
            vpc,
            is_tracked,
        }
    }

    /// From inside this VPC about a packet that came in through a NAT gateway.
    #[inline(always)]
    pub const fn out_of_gateway(vpc: u16) -> Self {
        Self::of(Kind::OutOfGateway, Address::UNSPECIFIED, vpc, false)
    }

    /// From inside, by an instance with this public IP.
    #[inline(always)]
    pub const fn out_of_instance(public: Address, vpc: u16, is_tracked: bool) -> Self {
        Self::of(Kind::OutOfInstance, public, vpc, is_tracked)
    }

    /// To a public IP of a NAT gateway whose own address is `private`, about a packet that left through it.
    #[inline(always)]
    pub const fn into_gateway(private: Address) -> Self {
        Self::of(Kind::IntoGateway, private, 0, false)
    }

    /// To the public IP of an instance with this private one.
    #[inline(always)]
    pub const fn into_instance(private: Address, vpc: u16) -> Self {
        Self::of(Kind::IntoInstance, private, vpc, false)
    }
}

/// Translates an error the way out, then the way back, and forwards it, if this hook can; `next` tells.
/// Both are there when it leaves to a public IP of ours (hairpin).
#[inline(always)]
pub fn forward<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    [out, back]: &[Way; 2],
    next: &mut NextHop,
) -> Result<(), DropReason> {
    // RFC 5508 REQ-3.
    if !has_right_checksum(hook, packet) {
        return Err(DropReason::Malformed);
    }
    hook.reach(HEADERS);
    let quote = unknown::quote(icmp_error::quote(hook, packet)?);
    let mut to = Translated {
        source: packet.flow.source,
        destination: packet.flow.destination,
        quoted: quote.flow,
    };
    let mut vpc = 0;
    match out.kind {
        Kind::OutOfGateway => {
            quote.names_a_session(false)?;
            let found = find(SessionKey::forward(&to.quoted.reversed(), out.vpc))?;
            if is_tracker(found.owner) {
                return Err(DropReason::NoSession);
            }
            to.source = found.address;
            to.quoted = to.quoted.with_destination(found.address, found.port);
        }
        Kind::OutOfInstance => {
            if quote.is_error() || to.quoted.destination != to.source {
                return Err(DropReason::NoSession);
            }
            if out.is_tracked {
                if to.quoted.source != to.destination {
                    return Err(DropReason::NoSession);
                }
                quote.names_a_flow()?;
                is_of_a_session(&to.quoted, out.vpc)?;
            }
            to.source = out.value;
            to.quoted = to
                .quoted
                .with_destination(out.value, to.quoted.destination_port);
        }
        _ => {}
    }
    if matches!(back.kind, Kind::IntoGateway | Kind::IntoInstance) {
        if matches!(back.kind, Kind::IntoGateway) {
            quote.names_a_session(true)?;
        } else if quote.is_error() {
            return Err(DropReason::NoSession);
        }
        if to.quoted.source != to.destination {
            return Err(DropReason::NoSession);
        }
        let mut inside = Inside {
            vpc: back.vpc,
            address: back.value,
            port: to.quoted.source_port,
            gateway: Address::UNSPECIFIED,
        };
        if matches!(back.kind, Kind::IntoGateway) {
            let found = find(SessionKey::reverse(&to.quoted.reversed()))?;
            inside.vpc = found.owner;
            inside.gateway = back.value;
            inside.address = found.address;
            inside.port = found.port;
            // Who asked by an endpoint knows nothing of what that stands for.
            if !found.far.is_none() {
                let far = &found.far;
                to.quoted = to.quoted.with_destination(far.address, far.port);
            }
        }
        let Some(decision) =
            decisions::inward(next.view, ERROR_STAGE, &Session::NONE, to.source, inside)
        else {
            next.verdict = Verdict::Policy;
            return Ok(());
        };
        if !matches!(decision.way, policy::Way::Inside) {
            return Err(decision.reason());
        }
        vpc = inside.vpc;
        to.destination = inside.address;
        to.quoted = to.quoted.with_source(inside.address, inside.port);
        if decision.is(Decision::TRACKED) && inside.gateway.is_unspecified() {
            quote.names_a_flow()?;
            is_of_a_session(&to.quoted, vpc)?;
        }
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    find_next_hop(hook, &to.flow(), hook.mtu_length(packet), vpc, next)?;
    if !next.view.is_whole() {
        return Err(DropReason::Internal);
    }
    if !matches!(next.verdict, Verdict::Forward) {
        return Ok(());
    }
    icmp_error::apply(hook, packet, &quote, &to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)
}

/// Of the whole message. Longer ones than are summed up don't exist: RFC 1812, 4.3.2.3 ends errors at
/// 576 bytes.
#[inline(always)]
fn has_right_checksum<H: Hook>(hook: &H, packet: &Ipv4Packet) -> bool {
    let length = IPV4_OFFSET + packet.total_length - packet.transport_offset;
    let sum = sum::of(hook, packet.transport_offset as u32, length as u32);
    sum.is_some_and(|sum| sum.folded() == u16::MAX)
}

/// The half of a key, if it is in use. All of it in the plan, because there is no room for it on the stack.
#[inline(always)]
fn find(key: SessionKey) -> Result<&'static Carrier, DropReason> {
    let plan = plan::last().ok_or(DropReason::Internal)?;
    plan.reverse.key = key;
    let key = &raw const plan.reverse.key;
    if find_half(key, &raw mut plan.forward, 0, 0) != 0 {
        Ok(&plan.forward)
    } else {
        Err(DropReason::NoSession)
    }
}

/// What an error within the VPC quotes was sent by its receiver, and is of a session.
#[inline(always)]
pub fn is_about_a_session<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    vpc: u16,
) -> Result<(), DropReason> {
    if !has_right_checksum(hook, packet) {
        return Err(DropReason::Malformed);
    }
    hook.reach(HEADERS);
    let quote = unknown::quote(icmp_error::quote(hook, packet)?);
    if quote.flow.source != packet.flow.destination {
        return Err(DropReason::NoSession);
    }
    quote.names_a_flow()?;
    is_of_a_session(&quote.flow, vpc)
}

/// A packet in the VPC is of a session, whoever opened that and whichever way it took. The keys are in the
/// plan, as in [`find`].
#[inline(always)]
fn is_of_a_session(flow: &Flow, vpc: u16) -> Result<(), DropReason> {
    let plan = plan::last().ok_or(DropReason::Internal)?;
    plan.forward.key = SessionKey::forward(flow, vpc);
    plan.reverse.key = SessionKey::forward(&flow.reversed(), vpc);
    if is_one_in_use(plan) {
        return Ok(());
    }
    plan.forward.key = plan.forward.key.via_instance();
    plan.reverse.key = plan.reverse.key.via_instance();
    if is_one_in_use(plan) {
        return Ok(());
    }
    Err(DropReason::NoSession)
}

#[inline(always)]
fn is_one_in_use(plan: &Plan) -> bool {
    is_in_use(&raw const plan.forward.key) != 0 || is_in_use(&raw const plan.reverse.key) != 0
}
