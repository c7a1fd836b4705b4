//! The policy tables, written by the controller only. Each has two sides; a packet reads the one of the
//! generation that it found at its beginning, which is its [`View`].

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use nat_common::{
    address::{Address, Port},
    flow::Flow,
    map_types::{
        ALL_GATEWAYS, ALL_VPCS, ApplianceKey, BalancedTarget, Exemptions, Gateway, Generation,
        Instance, Interface, Listener, ListenerKey, MAX_GATEWAYS, Name, NameKey, PublicAddress,
        Route, ScopedAddress, Settings, Subnet, TargetTable, side, sided,
    },
    wire::{EthernetHeader, Mac},
};

use crate::forward::Hook;

#[map]
static GENERATION: Array<u64> = Array::pinned(1, BPF_F_MMAPABLE);
#[map]
static SETTINGS: Array<Settings> = Array::pinned(2, 0);
#[map]
static INTERFACES: HashMap<u32, Interface> = HashMap::pinned(2048, 0);
#[map]
static SUBNETS: LpmTrie<ScopedAddress, Subnet> = LpmTrie::pinned(262_144, 0);
#[map]
static ROUTES: LpmTrie<ScopedAddress, Route> = LpmTrie::pinned(524_288, 0);
#[map]
static GATEWAYS: Array<Gateway> = Array::pinned(2 * MAX_GATEWAYS, 0);
#[map]
static PUBLIC_ADDRESSES: HashMap<ScopedAddress, PublicAddress> =
    HashMap::pinned(131_072, BPF_F_NO_PREALLOC);
#[map]
static INSTANCES: HashMap<ScopedAddress, Instance> = HashMap::pinned(131_072, BPF_F_NO_PREALLOC);
#[map]
static APPLIANCES: HashMap<ApplianceKey, Address> = HashMap::pinned(8192, BPF_F_NO_PREALLOC);
#[map]
static LISTENERS: HashMap<ListenerKey, Listener> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);
#[map]
static TARGET_TABLES: HashMap<u32, TargetTable> = HashMap::pinned(8192, BPF_F_NO_PREALLOC);
#[map]
static EXEMPTIONS: LpmTrie<ScopedAddress, Exemptions> = LpmTrie::pinned(32_768, 0);
#[map]
static NAMES: HashMap<NameKey, Name> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);

/// One generation of the policy.
#[derive(Clone, Copy)]
pub struct View {
    epoch: u32,
}

#[inline(always)]
fn generation() -> Generation {
    // SAFETY: an aligned word of a map element, which the controller stores as a whole.
    GENERATION
        .get_ptr(0)
        .map_or(Generation::default(), |word| unsafe {
            Generation(word.read_volatile())
        })
}

#[inline(always)]
fn key(scope: u32, address: Address) -> ScopedAddress {
    ScopedAddress { scope, address }
}

#[inline(always)]
fn whole(scope: u32, address: Address) -> Key<ScopedAddress> {
    Key::new(ScopedAddress::FULL_BITS, key(scope, address))
}

impl View {
    /// The one that holds in this moment.
    #[inline(always)]
    pub fn now() -> Self {
        Self {
            epoch: generation().epoch(),
        }
    }

    /// One that held when a decision was made.
    #[inline(always)]
    pub const fn of(epoch: u32) -> Self {
        Self { epoch }
    }

    /// Its generation.
    #[inline(always)]
    pub const fn epoch(self) -> u32 {
        self.epoch
    }

    /// Its side.
    #[inline(always)]
    pub const fn side(self) -> u32 {
        side(self.epoch)
    }

    /// What was read of it so far is of one generation.
    #[inline(always)]
    pub fn is_whole(self) -> bool {
        generation().leaves_alone(self.epoch)
    }

    #[inline(always)]
    fn sided(self, scope: u32) -> u32 {
        sided(scope, self.side())
    }

    /// What holds for all packets.
    #[inline(always)]
    pub fn settings(self) -> Option<&'static Settings> {
        SETTINGS.get(self.side())
    }

    /// The policy has this flag of [`Settings`].
    #[inline(always)]
    pub fn has_setting(self, flag: u32) -> bool {
        self.settings().is_some_and(|settings| settings.is(flag))
    }

    /// What an interface is.
    #[inline(always)]
    pub fn interface(self, index: u32) -> Option<&'static Interface> {
        // SAFETY: a map element's memory stays valid; [`View::is_whole`] tells whether it was written
        // meanwhile.
        unsafe { INTERFACES.get(self.sided(index)) }
    }

    /// What a public IP of ours is for.
    #[inline(always)]
    pub fn public_address(self, address: Address) -> Option<PublicAddress> {
        // SAFETY: as for interfaces.
        unsafe { PUBLIC_ADDRESSES.get(key(self.sided(0), address)) }.copied()
    }

    /// The listed instance with a private IP.
    #[inline(always)]
    pub fn instance(self, vpc: u16, address: Address) -> Option<Instance> {
        // SAFETY: as for interfaces.
        unsafe { INSTANCES.get(key(self.sided(u32::from(vpc)), address)) }.copied()
    }

    /// The private IP of the appliance behind an interface that has this MAC address.
    #[inline(always)]
    pub fn appliance(self, interface: u32, mac: Mac) -> Option<Address> {
        let key = ApplianceKey {
            interface: self.sided(interface),
            mac,
            reserved: 0,
        };
        // SAFETY: as for interfaces.
        unsafe { APPLIANCES.get(key) }.copied()
    }

    /// The subnet of a source behind an interface.
    #[inline(always)]
    pub fn subnet_behind(self, interface: u32, source: Address) -> Option<Subnet> {
        SUBNETS.get(whole(self.sided(interface), source)).copied()
    }

    /// The subnet of an address in a VPC.
    #[inline(always)]
    pub fn subnet_of(self, vpc: u16, address: Address) -> Option<Subnet> {
        let scope = ScopedAddress::subnets_of_vpc(u32::from(vpc));
        SUBNETS.get(whole(self.sided(scope), address)).copied()
    }

    /// The address is in a subnet that the host has no address in, so that it knows nothing of it.
    #[inline(always)]
    pub fn is_beyond_host(self, vpc: u16, address: Address) -> bool {
        let scope = ScopedAddress::subnets_of_vpc(u32::from(vpc));
        host_is_not_in(self.sided(scope), address.raw()) != 0
    }

    /// A route table's longest match.
    #[inline(always)]
    pub fn route(self, table: u32, destination: Address) -> Route {
        ROUTES
            .get(whole(self.sided(table), destination))
            .copied()
            .unwrap_or(Route::NONE)
    }

    /// The address belongs to some VPC.
    #[inline(always)]
    pub fn is_private(self, address: Address) -> bool {
        self.route(ALL_VPCS, address) != Route::NONE
    }

    /// The NAT gateway of this number.
    #[inline(always)]
    pub fn gateway(self, number: u32) -> Option<&'static Gateway> {
        GATEWAYS.get(number + self.side() * MAX_GATEWAYS)
    }

    /// What an endpoint or load balancer of this gateway offers at a port.
    #[inline(always)]
    pub fn listener(self, gateway: u32, protocol: u8, port: Port) -> Option<Listener> {
        let key = ListenerKey {
            gateway: self.sided(gateway),
            port,
            protocol,
            reserved: 0,
        };
        // SAFETY: as for interfaces.
        unsafe { LISTENERS.get(key) }.copied()
    }

    /// The target of new flows with this hash.
    #[inline(always)]
    pub fn target(self, table: u32, hash: u32) -> BalancedTarget {
        // SAFETY: as for interfaces.
        let table = unsafe { TARGET_TABLES.get(self.sided(table)) };
        table.map_or(BalancedTarget::default(), |table| table.choose(hash))
    }

    /// Flows that have this target may go on there.
    #[inline(always)]
    pub fn has_target(self, table: u32, address: Address, port: Port) -> bool {
        table_has(self.sided(table), address.raw(), u32::from(port.raw())) != 0
    }

    /// A gateway leaves packets to this remote end alone.
    #[inline(always)]
    pub fn is_exempt(
        self,
        gateway: u32,
        remote: Address,
        protocol: u8,
        port: Option<Port>,
    ) -> bool {
        let scope = self.sided(gateway);
        is_exempt_in(scope, remote.raw(), u32::from(protocol), raw(port)) != 0
    }

    /// Some gateway leaves packets from this remote end alone.
    #[inline(always)]
    pub fn is_exempt_from_outside(self, remote: Address, protocol: u8, port: Option<Port>) -> bool {
        self.is_exempt(ALL_GATEWAYS, remote, protocol, port)
    }
}

/// A packet with a session comes from the station that this session's packets come from. Appliances send
/// for others: what is not from their own address has to be looked at more closely.
#[inline(always)]
pub fn is_its_station<H: Hook>(hook: &H, view: View, flow: &Flow) -> bool {
    if !view.has_setting(Settings::STATIONS) {
        return true;
    }
    let Some(header) = hook.load::<EthernetHeader>(0) else {
        return false;
    };
    let [a, b, c, d, e, f] = header.source();
    let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    is_station_of(hook.ingress(), view.epoch, flow.source.raw(), mac) != 0
}

/// A global function, as the next one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_station_of(ingress: u32, epoch: u32, source: u32, mac: u64) -> u32 {
    let (view, source) = (View::of(epoch), Address::from_raw(source));
    let [a, b, c, d, e, f, ..] = mac.to_ne_bytes();
    let mac = [a, b, c, d, e, f];
    let Some(interface) = view.interface(ingress) else {
        return 1;
    };
    if interface.is(Interface::HAS_INSTANCES)
        && let Some(listed) = view.instance(interface.vpc, source)
        && listed.mac != [0; 6]
        && listed.mac != mac
    {
        return 0;
    }
    let is_for_others = interface.is(Interface::HAS_APPLIANCES)
        && view
            .appliance(ingress, mac)
            .is_some_and(|own| own != source);
    u32::from(!is_for_others)
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
pub extern "C" fn host_is_not_in(scope: u32, address: u32) -> u32 {
    let subnet = SUBNETS.get(whole(scope, Address::from_raw(address)));
    u32::from(subnet.is_some_and(|subnet| !subnet.is(Subnet::HOST_IS_IN_IT)))
}

/// A global function, as the one above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn table_has(table: u32, address: u32, port: u32) -> u32 {
    // SAFETY: as for interfaces.
    let Some(table) = (unsafe { TARGET_TABLES.get(table) }) else {
        return 0;
    };
    u32::from(table.has(Address::from_raw(address), Port::from_raw(port as u16)))
}

/// As the ones above.
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
