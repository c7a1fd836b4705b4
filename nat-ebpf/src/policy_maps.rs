//! The policy tables, written by the controller only.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use nat_common::{
    address::Address,
    map_types::{
        ALL_VPCS, Elastic, Gateway, Interface, MAX_GATEWAYS, Name, NameKey, PrivateAddress,
        PublicAddress, Route, ScopedAddress, Subnet, Target,
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
