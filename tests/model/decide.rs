//! The rules, in the order in which they apply. The first that fits decides.

use std::net::{Ipv4Addr, SocketAddrV4};

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
            Plan::OneToOne { .. } | Plan::Open { .. } | Plan::Out(_) | Plan::In(_)
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
            Some(Target::InternetGateway) => self.plan_elastic_source(ip.src),
            Some(Target::NatGateway(gateway)) => self.plan_nat(gateway, ip),
        }
    }

    fn plan_elastic_source(&self, src: Ipv4Addr) -> Plan {
        match self.config.elastic_of_private(src) {
            Some(elastic) => Plan::OneToOne {
                change: Change {
                    end: End::Source,
                    address: elastic.public,
                    port: None,
                },
                egress: Side::Uplink,
            },
            None => Plan::Drop(DropReason::NoPublicIp),
        }
    }

    fn plan_nat(&self, gateway: usize, ip: &Ipv4) -> Plan {
        if ip.is_fragment() {
            return Plan::Drop(DropReason::Fragment);
        }
        if !matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::ICMP) {
            return Plan::Drop(DropReason::UnsupportedProtocol);
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
            return Plan::OneToOne {
                change: Change {
                    end: End::Destination,
                    address: elastic.private,
                    port: None,
                },
                egress: config.side_of(elastic.private),
            };
        }
        if let Some(gateway) = config.gateway_of_public(ip.dst) {
            return match self.flow_from_outside(ip) {
                Some(flow) => Plan::In(flow),
                None if gateway.shared_with_host => Plan::Pass,
                None => Plan::Drop(DropReason::NoSession),
            };
        }
        if config.is_local(ip.dst) {
            return Plan::Drop(DropReason::PrivateDestination);
        }
        Plan::Pass
    }

    /// The flow that a packet to a NAT gateway's public IP belongs to.
    fn flow_from_outside(&self, ip: &Ipv4) -> Option<Flow> {
        if ip.is_fragment() {
            return None;
        }
        let remote = match &ip.transport {
            Transport::Tcp(_) | Transport::Udp(_) => ip.source(),
            Transport::Icmp(icmp) if icmp.icmp_type == icmp_type::ECHO_REPLY => {
                SocketAddrV4::new(ip.src, 0)
            }
            Transport::Icmp(_) | Transport::Opaque(_) => return None,
        };
        self.sessions
            .find_outside(ip.protocol, ip.destination(), remote)
    }
}

/// Whether a TCP segment with these flags may open a session.
fn opens_connection(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    flags & (SYN | ACK | RST | FIN) == SYN
}
