//! In random traffic, what goes to our own public IPs: hairpins, forwarded ports.

use std::net::SocketAddrV4;

use super::{Side, Traffic};
use crate::packets::{PacketBuilder, protocol, tcp_flags};

impl Traffic {
    /// From inside to a public IP: an instance's, or a NAT gateway's at a port that
    /// is forwarded, or that a session has, or that nobody has.
    pub(super) fn hairpin(&mut self) -> Option<(Side, PacketBuilder)> {
        let (side, host) = self.inside_host()?;
        let from = self.client(host);
        let to = match self.random.below(4) {
            0 => {
                let public = self.config.instance_publics();
                let public = public.first().map(|_| self.random.pick(&public))?;
                SocketAddrV4::new(public, self.server().port())
            }
            1 => self.forwarded_port()?.1,
            2 => self.remembered()?.seen.source(),
            _ => {
                let ips = self.config.gateways.iter();
                let ips: Vec<_> = ips.flat_map(|gateway| gateway.public_ips.clone()).collect();
                if ips.is_empty() {
                    return None;
                }
                let public = self.random.pick(&ips);
                self.client(public)
            }
        };
        let payload = self.payload();
        let builder = match self.random.below(8) {
            0..3 => self.tcp(from, to).flags(tcp_flags::SYN),
            3 => {
                let flags = self.tcp_flags();
                self.tcp(from, to).flags(flags)
            }
            4..7 => self.udp(from, to),
            _ => PacketBuilder::echo_request(host, *to.ip(), from.port(), 1),
        };
        Some((side, builder.payload(&payload)))
    }

    /// From outside to a port that is forwarded.
    pub(super) fn opening_forward(&mut self) -> Option<(Side, PacketBuilder)> {
        let (only, to) = self.forwarded_port()?;
        let (from, payload) = (self.server(), self.payload());
        let is_tcp = if self.random.one_in(12) {
            only != protocol::TCP
        } else {
            only == protocol::TCP
        };
        let builder = if is_tcp {
            let flags = self.tcp_flags();
            let flags = self.random.pick(&[tcp_flags::SYN, tcp_flags::SYN, flags]);
            self.tcp(from, to).flags(flags)
        } else {
            self.udp(from, to)
        };
        Some((Side::Uplink, builder.payload(&payload)))
    }

    /// A public port that is forwarded, with its protocol.
    fn forwarded_port(&mut self) -> Option<(u8, SocketAddrV4)> {
        let gateways = self.config.gateways.iter();
        let forwards: Vec<_> = gateways.flat_map(|gateway| &gateway.forwards).collect();
        if forwards.is_empty() {
            return None;
        }
        let forward = forwards[self.random.below(forwards.len())];
        let offset = self.random.below(forward.ports.len()) as u16;
        let public = SocketAddrV4::new(forward.public_ip, forward.ports.start() + offset);
        Some((forward.protocol, public))
    }

    /// Now and then, where a forwarded port leads.
    pub(super) fn forwarded_end(&mut self) -> Option<(Side, SocketAddrV4)> {
        if !self.random.one_in(8) {
            return None;
        }
        let (protocol, public) = self.forwarded_port()?;
        let (number, gateway) = self.config.gateway_of_public(*public.ip())?;
        let inside = gateway.forward_of_public(protocol, public)?;
        let vpc = self.config.vpc_of_gateway(number);
        Some((self.config.side_of(vpc, *inside.ip())?, inside))
    }
}
