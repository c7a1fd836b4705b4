//! The packet builder: right by default, wrong on request. Setters are in `fields.rs`.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{ETHERTYPE_IPV4, ETHERTYPE_VLAN, checksum, checksum_of, icmp_type, protocol, put16};

/// TCP flags, for [`PacketBuilder::flags`].
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets a connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00
    pub const ZERO: Self = Self([0; 6]);
    /// Where built packets come from unless told otherwise.
    pub const SENDER: Self = Self([0x02, 0, 0, 0, 0, 0x01]);
    /// Where built packets go to unless told otherwise.
    pub const GATEWAY: Self = Self([0x02, 0, 0, 0, 0, 0xfe]);
}

/// Builds one Ethernet frame with an IPv4 packet in it.
///
/// Setters of one protocol panic on a packet of another: a test that calls one
/// by mistake must not pass unnoticed.
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    pub(super) macs: (Mac, Mac),
    pub(super) vlan: Option<u16>,
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) version: u8,
    pub(super) ihl: Option<u8>,
    pub(super) tos: u8,
    pub(super) total_length: Option<u16>,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) more_fragments: bool,
    pub(super) fragment_offset: u16,
    pub(super) ttl: u8,
    pub(super) ip_options: Vec<u8>,
    pub(super) layer4: Layer4,
    pub(super) payload: Vec<u8>,
    pub(super) break_ip_checksum: bool,
    pub(super) break_transport_checksum: bool,
    pub(super) minimum_frame: usize,
    pub(super) trailer: Vec<u8>,
}

/// The transport header to build.
#[derive(Clone, Debug)]
pub(super) enum Layer4 {
    Tcp {
        ports: [u16; 2],
        seq: u32,
        ack: u32,
        flags: u8,
        window: u16,
        options: Vec<u8>,
        data_offset: Option<u8>,
    },
    Udp {
        ports: [u16; 2],
        with_checksum: bool,
        length: Option<u16>,
    },
    Icmp {
        icmp_type: u8,
        code: u8,
        rest: [u8; 4],
    },
    Raw {
        protocol: u8,
    },
}

impl PacketBuilder {
    /// A TCP segment: ACK set, no options, no payload.
    #[must_use]
    pub fn tcp(src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        let layer4 = Layer4::Tcp {
            ports: [src.port(), dst.port()],
            seq: 0x1000_0001,
            ack: 0x2000_0001,
            flags: tcp_flags::ACK,
            window: 64_240,
            options: Vec::new(),
            data_offset: None,
        };
        Self::new(*src.ip(), *dst.ip(), layer4)
    }

    /// A UDP datagram without payload, with a checksum.
    #[must_use]
    pub fn udp(src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        let ports = [src.port(), dst.port()];
        Self::new(
            *src.ip(),
            *dst.ip(),
            Layer4::Udp {
                ports,
                with_checksum: true,
                length: None,
            },
        )
    }

    /// An ICMP echo request.
    #[must_use]
    pub fn echo_request(src: Ipv4Addr, dst: Ipv4Addr, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp_type::ECHO_REQUEST, 0).icmp_rest(pair(id, seq))
    }

    /// An ICMP echo reply.
    #[must_use]
    pub fn echo_reply(src: Ipv4Addr, dst: Ipv4Addr, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp_type::ECHO_REPLY, 0).icmp_rest(pair(id, seq))
    }

    /// Any ICMP message; for errors go on with [`Self::quoting`].
    #[must_use]
    pub fn icmp(src: Ipv4Addr, dst: Ipv4Addr, icmp_type: u8, code: u8) -> Self {
        Self::new(
            src,
            dst,
            Layer4::Icmp {
                icmp_type,
                code,
                rest: [0; 4],
            },
        )
    }

    /// Any IP protocol, its header included in the payload. Also the way to
    /// build a later fragment of TCP, UDP or ICMP: those carry no header.
    #[must_use]
    pub fn ip(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Self {
        Self::new(src, dst, Layer4::Raw { protocol })
    }

    fn new(src: Ipv4Addr, dst: Ipv4Addr, layer4: Layer4) -> Self {
        Self {
            macs: (Mac::SENDER, Mac::GATEWAY),
            vlan: None,
            src,
            dst,
            version: 4,
            ihl: None,
            tos: 0,
            total_length: None,
            id: 0x1234,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            ip_options: Vec::new(),
            layer4,
            payload: Vec::new(),
            break_ip_checksum: false,
            break_transport_checksum: false,
            minimum_frame: 0,
            trailer: Vec::new(),
        }
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.macs.1.0);
        frame.extend(self.macs.0.0);
        if let Some(id) = self.vlan {
            frame.extend(ETHERTYPE_VLAN.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(self.build_ip());
        frame.extend(&self.trailer);
        frame.resize(frame.len().max(self.minimum_frame), 0);
        frame
    }

    /// The IP packet alone.
    #[must_use]
    pub fn build_ip(&self) -> Vec<u8> {
        let (protocol, segment) = self.segment();
        let header_len = 20 + self.ip_options.len();
        let total = (header_len + segment.len()) as u16;
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut ip = vec![0x40 | (header_len / 4) as u8, self.tos];
        ip.extend(total.to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        // Written last: the checksums are first computed as of a whole packet.
        ip.extend([0, 0, self.ttl, protocol, 0, 0]);
        ip.extend(self.src.octets());
        ip.extend(self.dst.octets());
        ip.extend(&self.ip_options);
        ip.extend(segment);
        self.fill_transport_checksum(&mut ip, header_len);
        put16(&mut ip, 6, flags | self.fragment_offset);
        ip[0] = self.version << 4 | self.ihl.unwrap_or((header_len / 4) as u8);
        put16(&mut ip, 2, self.total_length.unwrap_or(total));
        let checksum = checksum_of(&ip[..header_len]);
        put16(
            &mut ip,
            10,
            if self.break_ip_checksum {
                wrong(checksum)
            } else {
                checksum
            },
        );
        ip
    }

    fn fill_transport_checksum(&self, ip: &mut [u8], header_len: usize) {
        if matches!(
            self.layer4,
            Layer4::Raw { .. }
                | Layer4::Udp {
                    with_checksum: false,
                    ..
                }
        ) {
            return;
        }
        let computed = checksum::transport_checksum(ip);
        if let (Some(value), Some(field)) = (computed, checksum::checksum_offset(ip[9])) {
            let value = if self.break_transport_checksum {
                wrong(value)
            } else {
                value
            };
            put16(ip, header_len + field, value);
        }
    }

    /// Protocol number and transport header with payload, checksum zero.
    fn segment(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let protocol = match &self.layer4 {
            Layer4::Tcp {
                ports,
                seq,
                ack,
                flags,
                window,
                options,
                data_offset,
            } => {
                let words = data_offset.unwrap_or((5 + options.len() / 4) as u8);
                bytes.extend(pair(ports[0], ports[1]));
                bytes.extend(seq.to_be_bytes());
                bytes.extend(ack.to_be_bytes());
                bytes.extend([words << 4, *flags]);
                bytes.extend(window.to_be_bytes());
                bytes.extend([0; 4]);
                bytes.extend(options);
                protocol::TCP
            }
            Layer4::Udp { ports, length, .. } => {
                bytes.extend(pair(ports[0], ports[1]));
                let length = length.unwrap_or((8 + self.payload.len()) as u16);
                bytes.extend(pair(length, 0));
                protocol::UDP
            }
            Layer4::Icmp {
                icmp_type,
                code,
                rest,
            } => {
                bytes.extend([*icmp_type, *code, 0, 0]);
                bytes.extend(rest);
                protocol::ICMP
            }
            Layer4::Raw { protocol } => *protocol,
        };
        bytes.extend(&self.payload);
        (protocol, bytes)
    }
}

/// Two words one after the other.
pub(super) fn pair(first: u16, second: u16) -> [u8; 4] {
    (u32::from(first) << 16 | u32::from(second)).to_be_bytes()
}

/// A checksum that is not `right` in either representation of zero, nor zero.
fn wrong(right: u16) -> u16 {
    match right ^ 0x0101 {
        0 | 0xffff => 0x5555,
        value => value,
    }
}
