//! What sessions share: bindings (profile rfc, and forwards), and the clients that are counted.
//!
//! An entry lives as long as sessions hold it. Its lease counts them; the last one takes the entry
//! away. Static entries, which the controller writes for port forwarding, are held by nobody.

use super::{Mark, SessionKey};
use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::Flow,
    lifecycle::State,
};

/// Key in BINDINGS: an inside address and port (or ICMP identifier) behind a gateway.
#[inline(always)]
pub const fn binding_key(gateway: u16, flow: &Flow) -> SessionKey {
    SessionKey::forward(
        &flow.with_destination(Address::UNSPECIFIED, Port::NONE),
        gateway,
    )
}

/// Key in BOUND: the public address and port that `inbound`, a flow from outside, is addressed to.
#[inline(always)]
pub const fn bound_key(inbound: &Flow) -> SessionKey {
    SessionKey::reverse(&inbound.with_source(Address::UNSPECIFIED, Port::NONE))
}

/// Key in BOUND of the leave that the sender of `inbound` has to write to its public address and
/// port: somebody there has written to the sender's address (address-dependent filtering).
#[inline(always)]
pub const fn permission_key(inbound: &Flow) -> SessionKey {
    SessionKey::reverse(&inbound.with_source(inbound.source, Port::NONE))
}

/// The word of a shared entry that says whose it is, where it stands, and how many sessions hold it.
/// Changed by compare-and-swap only. As in [`Mark`], the lower half is the key's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease(pub u64);

impl Lease {
    /// Of an entry of this key that `count` sessions hold.
    #[inline(always)]
    pub const fn new(key_and_state: u32, count: u32) -> Self {
        Self(Mark::new(key_and_state, count).0)
    }

    /// What [`SessionKey::mark`] made.
    #[inline(always)]
    pub const fn key_and_state(self) -> u32 {
        Mark(self.0).key_and_state()
    }

    /// How many sessions hold it.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        Mark(self.0).created()
    }
}

/// One side of a binding: under an inside address the public one, under a public address the inside
/// one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Binding {
    /// See [`Lease`].
    pub lease: u64,
    /// The address on the other side.
    pub address: Address,
    /// The port on the other side.
    pub port: Port,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// The VPC's number.
    pub vpc: u16,
    /// [`Binding::STATIC`] or nothing.
    pub flags: u16,
    /// When its last session ended, while the port rests.
    pub freed: Tick,
}
const _: () = assert!(size_of::<Binding>() == 24);

impl Binding {
    /// Written by the controller for a forward: no session holds it, and it never ends by itself.
    pub const STATIC: u16 = 1;

    /// Under `key`, held by one session.
    #[inline(always)]
    pub const fn held(
        key: &SessionKey,
        address: Address,
        port: Port,
        gateway: u16,
        vpc: u16,
    ) -> Self {
        Self {
            lease: Lease::new(key.mark(State::Live), 1).0,
            address,
            port,
            gateway,
            vpc,
            flags: 0,
            freed: 0,
        }
    }

    /// A forward's, under `key`.
    pub const fn fixed(
        key: &SessionKey,
        address: Address,
        port: Port,
        gateway: u16,
        vpc: u16,
    ) -> Self {
        Self {
            flags: Self::STATIC,
            ..Self::held(key, address, port, gateway, vpc)
        }
    }

    /// A forward's.
    #[inline(always)]
    pub const fn is_static(&self) -> bool {
        self.flags & Self::STATIC != 0
    }
}

/// An inside host behind a gateway.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ClientKey {
    /// The NAT gateway's number, and above [`ClientKey::VPC_SHIFT`] the VPC's, where the gateway is every VPC's.
    pub gateway: u32,
    /// The host's address.
    pub address: Address,
}

impl ClientKey {
    /// Bits of a gateway's number.
    pub const VPC_SHIFT: u32 = 16;

    /// As [`SessionKey::mark`]: tells this key from the one whose entry may reuse the memory.
    #[inline(always)]
    pub const fn mark(&self, state: State) -> u32 {
        let flow = Flow {
            source: self.address,
            destination: Address::UNSPECIFIED,
            source_port: Port::NONE,
            destination_port: Port::NONE,
            protocol: 0,
        };
        SessionKey::forward(&flow, self.gateway as u16).mark(state)
    }
}

/// What a gateway knows of an inside host that has sessions.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Client {
    /// See [`Lease`]: counts its sessions.
    pub lease: u64,
    /// See [`Paired`]; changed by compare-and-swap.
    pub paired: u64,
}
const _: () = assert!(size_of::<Client>() == 16);

/// How many bindings an inside host has, and on which public address (RFC 4787 REQ-2), in one word: whoever
/// adds the first one decides where, and nobody adds another one elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paired(pub u64);

impl Paired {
    /// On this address.
    #[inline(always)]
    pub const fn new(address: Address, ports: u32) -> Self {
        Self((address.raw() as u64) << 32 | ports as u64)
    }

    /// Its bindings.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        self.0 as u32
    }

    /// The address.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address::from_raw((self.0 >> 32) as u32)
    }
}
