//! Endpoints and load balancers: what stands behind an address of a VPC that is no host's.

use crate::{
    address::{Address, Port},
    flow::Flow,
};

/// The end of a session that is not its inside host's, where that is changed, too: what consumers of a service
/// get as destination, and its targets' answers as source.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Far {
    /// The address; unspecified when it stays as it is.
    pub address: Address,
    /// The port.
    pub port: Port,
    /// The VPC it is in; 0 outside, and where the session's key says it.
    pub scope: u16,
}
const _: () = assert!(size_of::<Far>() == 8);

impl Far {
    /// It stays as it is.
    pub const NONE: Self = Self {
        address: Address::UNSPECIFIED,
        port: Port::NONE,
        scope: 0,
    };

    /// It stays as it is.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.address.is_unspecified()
    }

    /// As one word.
    #[inline(always)]
    pub const fn to_raw(self) -> u64 {
        (self.address.raw() as u64) << 32 | (self.port.raw() as u64) << 16 | self.scope as u64
    }

    /// What [`Far::to_raw`] made.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self {
            address: Address::from_raw((raw >> 32) as u32),
            port: Port::from_raw((raw >> 16) as u16),
            scope: raw as u16,
        }
    }

    /// This end, or that one where it stays as it is.
    #[inline(always)]
    pub const fn or(&self, end: (Address, Port)) -> (Address, Port) {
        if self.is_none() {
            end
        } else {
            (self.address, self.port)
        }
    }

    /// What a packet of a forward half becomes that gets `mapped` as source.
    #[inline(always)]
    pub const fn outward(&self, flow: &Flow, mapped: (Address, Port)) -> Flow {
        let (source, source_port) = mapped;
        let (destination, destination_port) = self.or((flow.destination, flow.destination_port));
        Flow {
            source,
            source_port,
            destination,
            destination_port,
            protocol: flow.protocol,
        }
    }

    /// What a packet of a reverse half becomes that gets `mapped` as destination.
    #[inline(always)]
    pub const fn inward(&self, flow: &Flow, mapped: (Address, Port)) -> Flow {
        let (source, source_port) = self.or((flow.source, flow.source_port));
        let (destination, destination_port) = mapped;
        Flow {
            source,
            source_port,
            destination,
            destination_port,
            protocol: flow.protocol,
        }
    }
}

/// Key of a listener: what is offered at a port of an endpoint or load balancer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ListenerKey {
    /// [`super::Instance::gateway`], with the side in its highest bit.
    pub gateway: u32,
    /// The port.
    pub port: Port,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}
const _: () = assert!(size_of::<ListenerKey>() == 8);

/// What is offered there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Listener {
    /// The number of its [`TargetTable`], where [`Listener::address`] is unspecified; of a diversion 1 while the
    /// proxy is down.
    pub table: u32,
    /// The VPC of its targets; 0 outside.
    pub vpc: u32,
    /// The gateway that has the ports for it.
    pub gateway: u32,
    /// The one address that it stands for, at the same port; of a diversion the proxy's private IP.
    pub address: Address,
}
const _: () = assert!(size_of::<Listener>() == 16);

impl Listener {
    /// A diversion to this proxy.
    pub const fn diversion(proxy: Address, is_down: bool) -> Self {
        Self {
            table: is_down as u32,
            vpc: 0,
            gateway: 0,
            address: proxy,
        }
    }

    /// The proxy that a diversion leads to is down.
    #[inline(always)]
    pub const fn is_down(&self) -> bool {
        self.table != 0
    }
}

impl ListenerKey {
    /// Key of a diversion: what leaves a subnet to a TCP port and goes to a proxy first. In the place of the
    /// gateway, with a bit that no gateway's number has.
    #[inline(always)]
    pub const fn diversion(subnet: u32) -> u32 {
        subnet | 1 << 30
    }
}

/// Slots of a table, a power of two.
pub const TARGET_SLOTS: usize = 4096;
/// Places of targets in a table: for those that get flows and those that have some left.
pub const TARGET_PLACES: usize = 128;

/// A target.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// Its private IP.
    pub address: Address,
    /// Its port; none where there is no target.
    pub port: Port,
    /// 1 when it was deregistered and serves the flows it has for some time yet.
    pub is_draining: u16,
}

/// Which target gets a new flow, by the flow's hash; consistent when targets come and go.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetTable {
    /// Positions in [`TargetTable::targets`], for each slot; [`TargetTable::NOBODY`] for none.
    pub slots: [u8; TARGET_SLOTS],
    /// Those that get flows, and those that have some left.
    pub targets: [Target; TARGET_PLACES],
}
const _: () = assert!(size_of::<TargetTable>() == 5120);

impl Default for TargetTable {
    fn default() -> Self {
        Self {
            slots: [Self::NOBODY; TARGET_SLOTS],
            targets: [Target::default(); TARGET_PLACES],
        }
    }
}

impl TargetTable {
    /// No target.
    pub const NOBODY: u8 = u8::MAX;

    /// The target of a flow with this hash; [`Target::default`] when there is none.
    #[inline(always)]
    pub fn choose(&self, hash: u32) -> Target {
        let slot = hash as usize % TARGET_SLOTS;
        let position = self.slots.get(slot).copied().unwrap_or(Self::NOBODY);
        let target = self.targets.get(usize::from(position));
        target.copied().unwrap_or_default()
    }

    /// It is one of the targets.
    #[inline(always)]
    pub fn has(&self, address: Address, port: Port) -> bool {
        let mut has = false;
        for target in &self.targets {
            has |= target.address.raw() == address.raw() && target.port.raw() == port.raw();
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_targets_chooses_none() {
        let table = TargetTable::default();
        assert_eq!(table.choose(7), Target::default());
        assert!(!table.has(Address::from_wire([10, 0, 0, 1]), Port::new(80)));
    }

    #[test]
    fn every_hash_has_a_slot() {
        let mut table = TargetTable::default();
        table.targets[3].port = Port::new(80);
        table.slots.fill(3);
        for hash in [0, 1, 1 << 31, u32::MAX] {
            assert_eq!(table.choose(hash).port, Port::new(80));
        }
    }
}
