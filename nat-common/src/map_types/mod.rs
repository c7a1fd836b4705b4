//! Keys and values of the BPF maps: the layout that the dataplane, the controller and the pinned
//! maps of a running system share. A change of size or meaning is a new [`LAYOUT_VERSION`].
//!
//! - `session.rs`: sessions; `binding.rs`: what they share (bindings, clients)
//! - `policy.rs`, `rules.rs`, `link.rs`: what the controller writes
//! - `fragment.rs`: datagrams on their way in pieces
//! - `rules.rs`: classified security groups and ACLs
//! - `counter.rs`, `name.rs`, `trace.rs`: what readers need

mod binding;
mod counter;
mod fragment;
mod link;
mod name;
mod policy;
mod rules;
mod session;
mod trace;

pub use binding::{
    Binding, Client, ClientKey, Lease, Paired, binding_key, bound_key, permission_key,
};
pub use counter::{Counter, GatewayCounter, GatewayPeak, GatewayTraffic};
pub use fragment::{
    DatagramKey, Fate, FateKind, FateWord, HELD_BYTES, HELD_FRAMES, HELD_PER_DATAGRAM, HeldFrame,
};
pub use link::{
    Far, Listener, ListenerKey, TARGET_PLACES, TARGET_SLOTS, Target as BalancedTarget, TargetTable,
};
pub use name::{Name, NameKey};
pub use policy::{
    ALL_GATEWAYS, ALL_VPCS, ApplianceKey, CHECKED_NET, CHECKER_IP, Exemption, Exemptions, Gateway,
    Generation, Instance, Interface, MAX_EXEMPTIONS, MAX_GATEWAYS, MAX_PUBLIC_IPS, MAX_VPCS,
    METADATA_IP, METADATA_PORT, PublicAddress, PublicUse, RELAY_NET, RESOLVER_IP, RESOLVER_PORT,
    Route, SERVICE_NET_BITS, SERVICES, SERVICES_IP, SERVICES_VPC, SIDE_SHIFT, ScopedAddress,
    Settings, Subnet, TRACKER, Target, Timeouts, side, sided, unsided,
};
pub use rules::{GroupKey, Judgement, PortKey, Ruleset};
pub use session::{Holds, Mark, Passed, Session, SessionKey};
pub use trace::{TRACED_STEPS, Trace, TracedStep};

/// Names the folder the maps are pinned in.
pub const LAYOUT_VERSION: u32 = 9;

/// Names of the maps, as in the object file and as pin names.
pub mod names {
    /// Both halves of all sessions, as [`crate::session_table::Half`].
    pub const SESSIONS: &str = "SESSIONS";
    /// Which lines of [`SESSIONS`] are whose, a word for each bucket; behind them the seed.
    pub const SESSION_INDEX: &str = "SESSION_INDEX";
    /// [`super::binding_key`] to the public address and port as a [`super::Binding`].
    pub const BINDINGS: &str = "BINDINGS";
    /// [`super::bound_key`] and [`super::permission_key`] to the inside address and port.
    pub const BOUND: &str = "BOUND";
    /// Inside hosts that are counted: [`super::ClientKey`] to [`super::Client`].
    pub const CLIENTS: &str = "CLIENTS";
    /// The [`super::Generation`] of the policy, one entry. Keys of the maps that follow have a side.
    pub const GENERATION: &str = "GENERATION";
    /// Interface index to [`super::Interface`].
    pub const INTERFACES: &str = "INTERFACES";
    /// Interface index and source, or VPC and address, to [`super::Subnet`].
    pub const SUBNETS: &str = "SUBNETS";
    /// Route table and destination to [`super::Route`].
    pub const ROUTES: &str = "ROUTES";
    /// [`super::Gateway`]s by number, those of one side behind those of the other.
    pub const GATEWAYS: &str = "GATEWAYS";
    /// Public IP to [`super::PublicAddress`].
    pub const PUBLIC_ADDRESSES: &str = "PUBLIC_ADDRESSES";
    /// VPC and private IP to [`super::Instance`].
    pub const INSTANCES: &str = "INSTANCES";
    /// [`super::ApplianceKey`] to the private IP of the instance.
    pub const APPLIANCES: &str = "APPLIANCES";
    /// [`super::ListenerKey`] to [`super::Listener`].
    pub const LISTENERS: &str = "LISTENERS";
    /// [`super::TargetTable`]s by number.
    pub const TARGET_TABLES: &str = "TARGET_TABLES";
    /// Gateway, or [`super::ALL_GATEWAYS`], and remote address to [`super::Exemptions`].
    pub const EXEMPTIONS: &str = "EXEMPTIONS";
    /// [`super::Ruleset`] and remote address to the class of the latter.
    pub const RULESETS: &str = "RULESETS";
    /// [`super::GroupKey`] to the class of the remote instance.
    pub const GROUP_RULES: &str = "GROUP_RULES";
    /// [`super::PortKey`] to [`super::Judgement`].
    pub const PORT_RULES: &str = "PORT_RULES";
    /// What `nat explain` reads, as a [`super::Trace`] per CPU; not pinned.
    pub const STEPS: &str = "STEPS";
    /// [`super::Settings`], one for each side.
    pub const SETTINGS: &str = "SETTINGS";
    /// Packets by [`crate::drop_reason::DropReason`], per CPU.
    pub const DROPS: &str = "DROPS";
    /// Packets by [`super::Counter`], per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`super::GatewayCounter`]s, those of one gateway behind those of the other, per CPU.
    pub const GATEWAY_COUNTERS: &str = "GATEWAY_COUNTERS";
    /// [`super::GatewayTraffic`] by number of the gateway, per CPU.
    pub const GATEWAY_TRAFFIC: &str = "GATEWAY_TRAFFIC";
    /// [`super::GatewayPeak`]s by number of the gateway, for readers.
    pub const GATEWAY_PEAKS: &str = "GATEWAY_PEAKS";
    /// [`crate::flow_cache::Line`]s, those of one CPU after those of the other.
    pub const FLOW_CACHE: &str = "FLOW_CACHE";
    /// How each CPU uses its lines.
    pub const FLOW_CACHE_USE: &str = "FLOW_CACHE_USE";
    /// [`crate::flow_cache::Path`]s, in the same way.
    pub const PATH_CACHE: &str = "PATH_CACHE";
    /// [`crate::flow_cache::Hop`]s, in the same way.
    pub const HOP_CACHE: &str = "HOP_CACHE";
    /// The programs of the XDP hook by stage.
    pub const XDP_STAGES: &str = "XDP_STAGES";
    /// The programs of the TC hook by stage.
    pub const TC_STAGES: &str = "TC_STAGES";
    /// Numbers to the names in the configuration, for readers.
    pub const NAMES: &str = "NAMES";

    /// All of them.
    pub const ALL: &[&str] = &[
        APPLIANCES,
        BINDINGS,
        BOUND,
        CLIENTS,
        COUNTERS,
        GATEWAY_COUNTERS,
        GATEWAY_TRAFFIC,
        GATEWAY_PEAKS,
        DROPS,
        EXEMPTIONS,
        FLOW_CACHE,
        GATEWAYS,
        GENERATION,
        GROUP_RULES,
        HOP_CACHE,
        INSTANCES,
        INTERFACES,
        LISTENERS,
        NAMES,
        PATH_CACHE,
        PORT_RULES,
        PUBLIC_ADDRESSES,
        ROUTES,
        RULESETS,
        SESSION_INDEX,
        SESSIONS,
        SETTINGS,
        SUBNETS,
        TARGET_TABLES,
    ];
}

/// Index of a hook's program for whole packets in its array of stages.
pub const WHOLE_STAGE: u32 = 0;
/// Index of its claim program.
pub const CLAIM_STAGE: u32 = 1;
/// Index of its program for ICMP errors.
pub const ERROR_STAGE: u32 = 2;
/// Index of its program for fragments.
pub const FRAGMENT_STAGE: u32 = 3;
/// Index of its program for packets that are too big, at TC alone.
pub const CUT_STAGE: u32 = 4;
/// Index of its program that decides by the policy.
pub const POLICY_STAGE: u32 = 5;
/// Index of its program that sends on what others have decided about.
pub const SEND_STAGE: u32 = 6;
/// How many stages there are.
pub const STAGES: u32 = 7;

/// Keys of forward halves in one run of the expiry program, at most.
pub const EXPIRE_BATCH: usize = 32;

/// Where they start in the bytes given to the program; before them is room for the Ethernet header
/// that the kernel expects.
pub const EXPIRE_KEYS_OFFSET: usize = 16;

#[cfg(feature = "user")]
mod pod {
    use super::*;
    use crate::{
        address::Address,
        flow_cache::{Hop, Line, Path},
        session_table::Half,
    };

    macro_rules! plain_data {
        ($($type:ty),*) => {
            $(
                // SAFETY: repr(C) of integers without padding (sizes checked above or evident), so
                // every byte pattern is a value.
                unsafe impl aya::Pod for $type {}
            )*
        };
    }

    plain_data!(
        GatewayPeak,
        GatewayTraffic,
        SessionKey,
        Session,
        Half,
        Binding,
        Client,
        ClientKey,
        ScopedAddress,
        Interface,
        Subnet,
        Route,
        Gateway,
        PublicAddress,
        Instance,
        ApplianceKey,
        ListenerKey,
        Listener,
        TargetTable,
        Trace,
        Exemptions,
        Settings,
        Line,
        Hop,
        Path,
        NameKey,
        Name,
        GroupKey,
        PortKey,
        Judgement,
        Address
    );
}
