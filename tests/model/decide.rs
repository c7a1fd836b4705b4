//! The rules, in the order in which they apply. The first that fits decides.

use std::net::SocketAddrV4;

use super::icmp_error::{error_in, plan_one_to_one};
use super::{Change, DropReason, End, Flow, Model, Side, Target};
use crate::packets::{
    ETHERNET_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ipv4, Network, Packet, Transport, arp_reply, be16,
    icmp_type, protocol, tcp_flags,
};

/// What is to be done with a packet.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Pass,
    Drop(DropReason),
    Reply(Vec<u8>),
    /// Translate without a session.
    OneToOne {
        change: Change,
        egress: Side,
    },
    /// Translate an ICMP error: its header, and at the other end the packet it
    /// quotes. The port is for the quote.
    Error {
        change: Change,
        egress: Side,
    },
    /// Open a session, then translate as with [`Plan::Out`].
    Open {
        gateway: usize,
        flow: Flow,
    },
    /// Translate to the outside, by the session of this flow.
    Out(Flow),
    /// Translate to the inside, by the session of this flow.
    In(Flow),
}

impl Model {
    /// What to do with `frame`, by configuration and sessions as they are.
    pub(super) fn plan(&self, ingress: Side, frame: &[u8]) -> Plan {
        if frame.len() < ETHERNET_LEN {
            return Plan::Pass;
        }
        match be16(frame, 12) {
            ETHERTYPE_IPV4 => {}
            ETHERTYPE_ARP if ingress == Side::Uplink => return self.plan_arp(frame),
            // IPv6, VLAN tags and all else are the host's.
            _ => return Plan::Pass,
        }
        let Ok(packet) = Packet::parse(frame) else {
            return Plan::Drop(DropReason::Malformed);
        };
        let Some(ip) = packet.ipv4() else {
            return Plan::Pass;
        };
        let plan = match ingress {
            Side::Inside(interface) => self.plan_from_inside(interface, ip),
            Side::Uplink => self.plan_from_uplink(ip),
        };
        // Last, and before a port is taken: a packet that dies here opens nothing.
        match plan {
            Plan::OneToOne { .. }
            | Plan::Error { .. }
            | Plan::Open { .. }
            | Plan::Out(_)
            | Plan::In(_)
                if ip.ttl <= 1 =>
            {
                Plan::Drop(DropReason::TtlExpired)
            }
            plan => plan,
        }
    }

    /// Requests for public IPs that no interface has are answered here.
    fn plan_arp(&self, frame: &[u8]) -> Plan {
        match Packet::parse(frame).map(|packet| packet.network) {
            Ok(Network::Arp(arp)) if arp.operation == 1 && self.config.is_owned(arp.target) => {
                let mac = self.config.uplink_mac;
                Plan::Reply(arp_reply(mac, arp.target, arp.sender_mac, arp.sender))
            }
            _ => Plan::Pass,
        }
    }

    fn plan_from_inside(&self, interface: u32, ip: &Ipv4) -> Plan {
        let config = &self.config;
        if ip.dst.is_multicast() || ip.dst.is_broadcast() || config.is_host(ip.dst) {
            return Plan::Pass;
        }
        let subnet = config
            .subnet_of(ip.src)
            .filter(|subnet| subnet.interface == interface);
        let Some(subnet) = subnet else {
            return Plan::Drop(DropReason::SpoofedSource);
        };
        if config.is_local(ip.dst) {
            return Plan::Pass;
        }
        if config.is_owned(ip.dst) {
            return Plan::Drop(DropReason::HairpinNotSupported);
        }
        match subnet.target(ip.dst) {
            None => Plan::Drop(DropReason::NoRoute),
            Some(Target::Blackhole) => Plan::Drop(DropReason::Blackhole),
            Some(Target::InternetGateway) => self.plan_elastic_source(ip),
            Some(Target::NatGateway(gateway)) => self.plan_nat(gateway, ip),
        }
    }

    fn plan_elastic_source(&self, ip: &Ipv4) -> Plan {
        let Some(elastic) = self.config.elastic_of_private(ip.src) else {
            return Plan::Drop(DropReason::NoPublicIp);
        };
        let change = Change {
            end: End::Source,
            address: elastic.public,
            port: None,
        };
        plan_one_to_one(ip, change, Side::Uplink)
    }

    fn plan_nat(&self, gateway: usize, ip: &Ipv4) -> Plan {
        if ip.is_fragment() {
            return Plan::Drop(DropReason::Fragment);
        }
        if !matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::ICMP) {
            return Plan::Drop(DropReason::UnsupportedProtocol);
        }
        if let Some(icmp) = error_in(ip) {
            return self.plan_error_from_inside(icmp).unwrap_or_else(Plan::Drop);
        }
        let mut remote = ip.destination();
        if let Transport::Icmp(icmp) = &ip.transport {
            if icmp.icmp_type != icmp_type::ECHO_REQUEST {
                return Plan::Drop(DropReason::UnsupportedIcmp);
            }
            remote.set_port(0);
        }
        let flow = Flow {
            protocol: ip.protocol,
            inside: ip.source(),
            remote,
        };
        if self.sessions.find(&flow).is_some() {
            return Plan::Out(flow);
        }
        match &ip.transport {
            Transport::Tcp(tcp) if !opens_connection(tcp.flags) => {
                Plan::Drop(DropReason::NoSession)
            }
            _ => Plan::Open { gateway, flow },
        }
    }

    fn plan_from_uplink(&self, ip: &Ipv4) -> Plan {
        let config = &self.config;
        if let Some(elastic) = config.elastic_of_public(ip.dst) {
            // Nobody outside has a sender address of the inside, or one that is none.
            let first = ip.src.octets()[0];
            if config.is_local(ip.src) || first == 0 || first == 127 || first >= 224 {
                return Plan::Drop(DropReason::SpoofedSource);
            }
            let change = Change {
                end: End::Destination,
                address: elastic.private,
                port: None,
            };
            return plan_one_to_one(ip, change, config.side_of(elastic.private));
        }
        if let Some(gateway) = config.gateway_of_public(ip.dst) {
            let plan = match error_in(ip) {
                Some(icmp) => self.plan_error_from_outside(ip.dst, icmp),
                None => self.flow_from_outside(ip).map(Plan::In),
            };
            return match plan {
                // Nothing inside asked for it: the host may have.
                Err(DropReason::NoSession) if gateway.shared_with_host => Plan::Pass,
                plan => plan.unwrap_or_else(Plan::Drop),
            };
        }
        if config.is_local(ip.dst) {
            return Plan::Drop(DropReason::PrivateDestination);
        }
        Plan::Pass
    }

    /// The flow that a packet to a NAT gateway's public IP belongs to.
    fn flow_from_outside(&self, ip: &Ipv4) -> Result<Flow, DropReason> {
        if ip.is_fragment() {
            return Err(DropReason::NoSession);
        }
        let remote = match &ip.transport {
            Transport::Tcp(_) | Transport::Udp(_) => ip.source(),
            Transport::Icmp(icmp) if icmp.icmp_type == icmp_type::ECHO_REPLY => {
                SocketAddrV4::new(ip.src, 0)
            }
            Transport::Icmp(_) | Transport::Opaque(_) => return Err(DropReason::NoSession),
        };
        self.sessions
            .find_outside(ip.protocol, ip.destination(), remote)
            .ok_or(DropReason::NoSession)
    }
}

/// Whether a TCP segment with these flags may open a session.
fn opens_connection(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    flags & (SYN | ACK | RST | FIN) == SYN
}
