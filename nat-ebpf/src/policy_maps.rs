//! The policy tables, written by the controller only.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use nat_common::{
    address::{Address, Port},
    map_types::{
        ALL_GATEWAYS, ALL_VPCS, Elastic, Exemptions, Gateway, Interface, MAX_GATEWAYS, Name,
        NameKey, PrivateAddress, PublicAddress, Route, ScopedAddress, Settings, Subnet, Target,
    },
};

#[map]
static INTERFACES: HashMap<u32, Interface> = HashMap::pinned(1024, 0);
#[map]
static SUBNETS: LpmTrie<ScopedAddress, Subnet> = LpmTrie::pinned(65_536, 0);
#[map]
static ROUTES: LpmTrie<ScopedAddress, Route> = LpmTrie::pinned(131_072, 0);
#[map]
static GATEWAYS: Array<Gateway> = Array::pinned(MAX_GATEWAYS, 0);
#[map]
static PUBLIC_ADDRESSES: HashMap<Address, PublicAddress> = HashMap::pinned(32_768, 0);
#[map]
static ELASTIC: HashMap<PrivateAddress, Elastic> = HashMap::pinned(32_768, 0);
#[map]
static EXEMPTIONS: LpmTrie<ScopedAddress, Exemptions> = LpmTrie::pinned(16_384, 0);
#[map]
static SETTINGS: Array<Settings> = Array::pinned(1, 0);
#[map]
static NAMES: HashMap<NameKey, Name> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);

/// What an interface is.
#[inline(always)]
pub fn interface(index: u32) -> Option<&'static Interface> {
    // SAFETY: a map element's memory stays valid; one that the controller replaces meanwhile belongs
    // to a configuration that is being changed.
    unsafe { INTERFACES.get(index) }
}

/// What a public IP of ours is for.
#[inline(always)]
pub fn public_address(address: Address) -> Option<PublicAddress> {
    // SAFETY: as for interfaces.
    unsafe { PUBLIC_ADDRESSES.get(address) }.copied()
}

/// The public IP of a private address.
#[inline(always)]
pub fn elastic(vpc: u16, address: Address) -> Option<Elastic> {
    // SAFETY: as for interfaces.
    unsafe {
        ELASTIC.get(PrivateAddress {
            vpc: u32::from(vpc),
            address,
        })
    }
    .copied()
}

/// The subnet of a source behind an interface.
#[inline(always)]
pub fn subnet(interface: u32, source: Address) -> Option<Subnet> {
    SUBNETS.get(whole(interface, source)).copied()
}

/// The target of a route table's longest match.
#[inline(always)]
pub fn route(table: u32, destination: Address) -> Option<Target> {
    ROUTES.get(whole(table, destination)).map(Route::target)
}

/// The address belongs to some VPC.
#[inline(always)]
pub fn is_private(address: Address) -> bool {
    route(ALL_VPCS, address).is_some()
}

/// The NAT gateway of this number.
#[inline(always)]
pub fn gateway(number: u32) -> Option<&'static Gateway> {
    GATEWAYS.get(number)
}

#[inline(always)]
fn whole(scope: u32, address: Address) -> Key<ScopedAddress> {
    Key::new(ScopedAddress::FULL_BITS, ScopedAddress { scope, address })
}

/// A gateway leaves packets to this remote end alone.
#[inline(always)]
pub fn is_exempt(gateway: u32, remote: Address, protocol: u8, port: Option<Port>) -> bool {
    is_exempt_in(gateway, remote.raw(), u32::from(protocol), raw(port)) != 0
}

/// Some gateway leaves packets from this remote end alone.
#[inline(always)]
pub fn is_exempt_from_outside(remote: Address, protocol: u8, port: Option<Port>) -> bool {
    is_exempt_in(ALL_GATEWAYS, remote.raw(), u32::from(protocol), raw(port)) != 0
}

/// As one word: of an `Option` that is passed on, part is uninitialised.
#[inline(always)]
fn raw(port: Option<Port>) -> u32 {
    port.map_or(NO_PORT, |port| u32::from(port.get()))
}
const NO_PORT: u32 = u32::MAX;

/// A global function: the verifier looks at it once, not anew for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_exempt_in(scope: u32, remote: u32, protocol: u32, port: u32) -> u32 {
    let Some(exemptions) = EXEMPTIONS.get(whole(scope, Address::from_raw(remote))) else {
        return 0;
    };
    let is_covered = if port == NO_PORT {
        exemptions.cover(protocol as u8, None)
    } else {
        exemptions.cover(protocol as u8, Some(Port::new(port as u16)))
    };
    u32::from(is_covered)
}

/// What holds for all packets.
#[inline(always)]
pub fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0)
}

/// The policy has this flag of [`Settings`].
#[inline(always)]
pub fn has_setting(flag: u32) -> bool {
    settings().is_some_and(|settings| settings.is(flag))
}

/// Generation of the policy.
#[inline(always)]
pub fn epoch() -> u32 {
    settings().map_or(0, |settings| settings.epoch)
}
