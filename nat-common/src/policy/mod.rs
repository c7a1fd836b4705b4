//! What the policy says about a packet that no session speaks for: route, network ACLs, security groups.
//! Pure: the tables are the trait [`Policy`], which the dataplane implements on the BPF maps and the
//! controller on what it is about to write, so that `nat diff` decides as the packets will be decided.
//!
//! - `sender.rs`: who sent a packet from inside
//! - `outward.rs`: packets from inside
//! - `endpoint.rs`: what is sent to endpoints and load balancers, and its answers
//! - `inward.rs`: packets to a public IP
//! - `opening.rs`: what may open a session through a NAT gateway

mod endpoint;
mod inward;
mod opening;
mod outward;
mod sender;

pub use inward::{Inside, inward};
pub use opening::{may_open, translatable};
pub use outward::{Course, outward};
pub use sender::{Sender, sender};

use crate::{
    address::{Address, Port},
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{
        BalancedTarget, Far, Gateway, Instance, Interface, Listener, PublicAddress, Route, Ruleset,
        Subnet, TRACKER,
    },
    parse::Ipv4Packet,
    reply::Answer,
    wire::Mac,
};

/// Where the host would send packets of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leads {
    /// Nowhere: the destination is one of its own addresses or a broadcast, or it knows no route.
    ToHost,
    /// Out of an uplink that is no inside interface too.
    Out,
    /// To an inside interface or one that is none of ours.
    Elsewhere,
    /// Its routing table forbids them.
    Forbidden,
}

/// One generation of the policy, and what is known beside it.
pub trait Policy {
    /// The subnet of a source behind an interface.
    fn subnet_behind(&self, interface: u32, source: Address) -> Option<Subnet>;
    /// The subnet of an address in a VPC.
    fn subnet_of(&self, vpc: u16, address: Address) -> Option<Subnet>;
    /// The listed instance with a private IP.
    fn instance(&self, vpc: u16, address: Address) -> Option<Instance>;
    /// The private IP of the appliance behind an interface that has this MAC address.
    fn appliance(&self, interface: u32, mac: Mac) -> Option<Address>;
    /// A route table's longest match, or [`Route::NONE`].
    fn route(&self, table: u32, destination: Address) -> Route;
    /// The NAT gateway of this number.
    fn gateway(&self, number: u32) -> Option<&Gateway>;
    /// What a public IP of ours is for, or [`PublicAddress::is_none`].
    fn public_address(&self, address: Address) -> PublicAddress;
    /// What an endpoint or load balancer of this gateway offers at a port, in host byte order.
    fn listener(&self, gateway: u32, protocol: u8, port: Port) -> Option<Listener>;
    /// The target of new flows with this hash; the default when there is none.
    fn target(&self, table: u32, hash: u32) -> BalancedTarget;
    /// Flows that have this target may go on there.
    fn has_target(&self, table: u32, address: Address, port: Port) -> bool;
    /// A gateway leaves packets to this remote end alone.
    fn is_exempt(&self, gateway: u32, remote: Address, protocol: u8, port: Option<Port>) -> bool;

    /// Somebody inside has the public address and port that a flow is addressed to.
    fn is_bound(&self, flow: &Flow) -> bool;
    /// A session that was opened for this flow in the scope of its VPC.
    fn is_open(&self, flow: &Flow, scope: u16) -> bool;
    /// A session has this flow for its answers, outside.
    fn is_answered(&self, flow: &Flow) -> bool;
    /// A flow within the VPC has this one for its answers, in that scope.
    fn is_answer(&self, flow: &Flow, scope: u16) -> bool;
    /// Where the host would send packets of a flow.
    fn leads(&self, flow: &Flow) -> Leads;
    /// The destination of a flow, in a subnet, is the host's own address there.
    fn is_the_hosts(&self, flow: &Flow, subnet: &Subnet) -> bool;

    /// What an ACL says: true when the packet may pass.
    fn acl_allows(&self, ruleset: u32, remote: Address, what: What) -> bool;
    /// What a set of groups says about a remote end with the set of groups `remote_set`, or 0.
    fn groups_allow(&self, ruleset: u32, remote: Address, remote_set: u32, what: What) -> bool;

    /// Takes note of a step, for `nat explain`.
    fn note(&self, _step: Step, _value: u32, _detail: u32) {}
}

/// Steps of a decision, as [`Policy::note`] gets them.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The sender's subnet: its number, and the kind of the route there.
    Subnet = 1,
    /// The sender's instance: its private IP, and its set of groups.
    Instance = 2,
    /// The route: its kind as [`crate::map_types::Route`] has it, and its value.
    Route = 3,
    /// A network ACL was asked: the ruleset, and the judgement.
    Acl = 4,
    /// Security groups were asked: the ruleset, and the judgement.
    Groups = 5,
    /// The NAT gateway: its number.
    Gateway = 6,
    /// The receiver's subnet: its number, and its interface.
    ReceiverSubnet = 7,
    /// A live session carries the packet, so that no group is asked: the address that its source gets, and
    /// the port with the NAT gateway's number above it.
    Session = 8,
    /// The public IP of an instance: it, and the private one.
    PublicIp = 9,
    /// A session would be made, with what [`Step::Session`] says of it.
    Mapping = 10,
    /// The next hop: the interface, and the address.
    NextHop = 11,
    /// A live session carries the packet as an answer: the address that its destination gets, and the port
    /// with the VPC's number above it.
    Answer = 12,
    /// What the packet's source becomes: the address, and the port.
    Source = 13,
    /// What its destination becomes: the address, and the port.
    Destination = 14,
    /// The subnet that the NAT gateway is in: its number, and its route table.
    GatewaySubnet = 15,
    /// An endpoint or load balancer: its gateway's number, and the table of its targets.
    Endpoint = 16,
    /// The target of a flow: the address, and the port.
    Target = 17,
    /// The subnet sends this port to a proxy: its private IP, and 1 when it is down.
    Diversion = 18,
}

/// What rules look at besides the remote end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct What {
    /// IP protocol.
    pub protocol: u8,
    /// Destination port, in host byte order; of ICMP type << 8 | code; 0 where there is none.
    pub port: u16,
}

impl What {
    /// Of a packet; `icmp` are its type and code.
    #[inline(always)]
    pub const fn of(packet: &Ipv4Packet, icmp: u16) -> Self {
        let protocol = packet.flow.protocol;
        let port = match protocol {
            protocol::TCP | protocol::UDP => packet.flow.destination_port.get(),
            protocol::ICMP => icmp,
            _ => 0,
        };
        Self { protocol, port }
    }

    /// The same to another port, of protocols that have ports.
    #[inline(always)]
    #[must_use]
    pub const fn to_port(self, port: Port) -> Self {
        match self.protocol {
            protocol::TCP | protocol::UDP => Self {
                port: port.get(),
                ..self
            },
            _ => self,
        }
    }
}

/// What is known of a packet when the policy is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The packet.
    pub packet: &'a Ipv4Packet,
    /// The ICMP type and code, if it has them.
    pub what: What,
    /// The interface it came by.
    pub interface: &'a Interface,
    /// And its index.
    pub ingress: u32,
    /// The station that sent the frame.
    pub mac: Mac,
    /// The session that carries it so far.
    pub session: &'a Session,
}

/// What a live session says about its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Session {
    /// There is one.
    pub is_there: bool,
    /// Bits of [`Session::ANSWER`] and [`Session::OVER`].
    pub flags: u8,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// The address that the inside host has outside; of answers by an endpoint, the inside host's.
    pub address: Address,
    /// The far end that its packets get.
    pub far: Far,
    /// The port that goes with the address.
    pub port: Port,
    /// Zero.
    pub reserved: u16,
}

impl Session {
    /// There is none.
    pub const NONE: Self = Self {
        is_there: false,
        flags: 0,
        gateway: 0,
        address: Address::UNSPECIFIED,
        far: Far::NONE,
        port: Port::NONE,
        reserved: 0,
    };

    /// [`Session::OVER`] if it is.
    #[inline(always)]
    pub const fn over_if(is_over: bool) -> u8 {
        if is_over { Self::OVER } else { 0 }
    }

    /// It was opened from the other end, within the VPC.
    pub const ANSWER: u8 = 1;
    /// It was closed, and the packet opens it anew: groups are asked as about a new one.
    pub const OVER: u8 = 1 << 1;

    /// See [`Session::ANSWER`].
    #[inline(always)]
    pub const fn is_answer(&self) -> bool {
        self.flags & Self::ANSWER != 0
    }

    /// See [`Session::OVER`].
    #[inline(always)]
    pub const fn is_over(&self) -> bool {
        self.flags & Self::OVER != 0
    }

    /// There is one, and it lets the packet through without groups being asked.
    #[inline(always)]
    pub const fn speaks(&self) -> bool {
        self.is_there && !self.is_over()
    }

    /// There is one, of this gateway.
    #[inline(always)]
    pub const fn is_of(&self, gateway: u32) -> bool {
        self.is_there && self.gateway as u32 == gateway
    }
}

/// Where a packet goes.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// Nobody has asked, or nobody has answered.
    #[default]
    Undecided = 0,
    /// It is the host's, unchanged.
    Pass = 1,
    /// Nowhere: [`Decision::value`] is the reason.
    Drop = 2,
    /// It depends on ports, which its datagram's first fragment has.
    Wait = 3,
    /// Out by the NAT gateway of the number in [`Decision::value`].
    NatGateway = 4,
    /// Out by the public IP in [`Decision::value`].
    OneToOne = 5,
    /// To a host in the VPC.
    Local = 6,
    /// To the instance with the private IP in [`Decision::value`], unchanged.
    Instance = 7,
    /// From outside to a host inside.
    Inside = 8,
    /// To the router's own address.
    Router = 9,
    /// By an endpoint to [`Decision::far`].
    Endpoint = 10,
}

/// What the policy says. Plain numbers, because it lies in a map between two programs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// Where the packet goes.
    pub way: Way,
    /// What that needs.
    pub value: u32,
    /// Bits of [`Decision::TRACKED`] and the others.
    pub flags: u32,
    /// What it is answered with when it is dropped, as [`Answer::to_raw`] has it.
    pub answer: u32,
    /// The NAT gateway that it goes through, or would; [`TRACKER`] is none.
    pub gateway: u32,
    /// The far end of the session that [`Way::Endpoint`] needs.
    pub far: Far,
}

impl Decision {
    /// The flow needs a session, because security groups stand at one of its ends.
    pub const TRACKED: u32 = 1;
    /// The decision holds for this flow alone, not for all between the two addresses.
    pub const BY_FLOW: u32 = 1 << 1;

    #[inline(always)]
    const fn to(way: Way, value: u32) -> Self {
        Self {
            way,
            value,
            flags: 0,
            answer: 0,
            gateway: TRACKER,
            far: Far::NONE,
        }
    }

    /// It has this flag.
    #[inline(always)]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Why the packet is dropped, where [`Way::Drop`] is its way.
    #[inline(always)]
    pub const fn reason(&self) -> DropReason {
        DropReason::of_number(self.value)
    }

    #[inline(always)]
    const fn with(self, flags: u32) -> Self {
        Self {
            flags: self.flags | flags,
            ..self
        }
    }

    #[inline(always)]
    pub(crate) const fn refused(reason: DropReason) -> Self {
        Self::to(Way::Drop, reason as u32)
    }

    #[inline(always)]
    const fn answered(self, answer: Answer) -> Self {
        Self {
            answer: answer.to_raw(),
            ..self
        }
    }
}

/// A network ACL at the boundary of a subnet; true when the packet may pass.
#[inline(always)]
fn may_leave<P: Policy>(policy: &P, subnet: &Subnet, remote: Address, what: What) -> bool {
    subnet.acl == 0 || policy.acl_allows(Ruleset::egress_of_acl(subnet.acl), remote, what)
}

#[inline(always)]
fn may_enter<P: Policy>(policy: &P, subnet: &Subnet, remote: Address, what: What) -> bool {
    subnet.acl == 0 || policy.acl_allows(Ruleset::ingress_of_acl(subnet.acl), remote, what)
}

/// The packet's ports decide and are not in it.
#[inline(always)]
const fn lacks_ports(packet: &Ipv4Packet) -> bool {
    packet.is_later_fragment() && protocol::is_translated(packet.flow.protocol)
}
