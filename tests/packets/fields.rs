//! The setters of [`PacketBuilder`].

use std::net::Ipv4Addr;

use super::build::{Layer4, pair};
use super::{ETHERNET_LEN, MIN_FRAME_LEN, Mac, PacketBuilder, checksum_of, put16};

impl PacketBuilder {
    /// Ethernet source and destination.
    #[must_use]
    pub fn macs(mut self, src: Mac, dst: Mac) -> Self {
        self.macs = (src, dst);
        self
    }

    /// Puts an 802.1Q tag with this VLAN id in front of the IP packet.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Another source address, everything else kept (checksums follow).
    #[must_use]
    pub fn source(mut self, src: Ipv4Addr) -> Self {
        self.src = src;
        self
    }

    /// Another destination address, everything else kept (checksums follow).
    #[must_use]
    pub fn destination(mut self, dst: Ipv4Addr) -> Self {
        self.dst = dst;
        self
    }

    /// Type of service: DSCP and ECN bits.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IP identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// The don't-fragment bit.
    #[must_use]
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Marks the packet as a fragment; `offset` in bytes, a multiple of 8. The
    /// transport checksum of a first fragment is that of its own bytes; use
    /// [`super::fragments_of`] for one that belongs to a whole datagram.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        assert!(
            offset.is_multiple_of(8),
            "fragment offsets count in 8 bytes"
        );
        self.fragment_offset = offset / 8;
        self.more_fragments = more;
        self
    }

    /// IP options, padded with zeros to a multiple of 4; 40 bytes at most.
    #[must_use]
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip_options = padded_options(options);
        self
    }

    /// Bytes after the transport header.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// `length` payload bytes that differ from each other, for odd lengths.
    #[must_use]
    pub fn payload_len(mut self, length: usize) -> Self {
        self.payload = (0..length).map(|index| (index * 7 + 1) as u8).collect();
        self
    }

    /// TCP flags, see [`super::tcp_flags`].
    #[must_use]
    #[track_caller]
    pub fn flags(mut self, value: u8) -> Self {
        let Layer4::Tcp { flags, .. } = &mut self.layer4 else {
            panic!("flags() is for TCP");
        };
        *flags = value;
        self
    }

    /// TCP sequence and acknowledgment numbers.
    #[must_use]
    #[track_caller]
    pub fn seq_ack(mut self, sequence: u32, acknowledgment: u32) -> Self {
        let Layer4::Tcp { seq, ack, .. } = &mut self.layer4 else {
            panic!("seq_ack() is for TCP");
        };
        (*seq, *ack) = (sequence, acknowledgment);
        self
    }

    /// TCP window.
    #[must_use]
    #[track_caller]
    pub fn window(mut self, value: u16) -> Self {
        let Layer4::Tcp { window, .. } = &mut self.layer4 else {
            panic!("window() is for TCP");
        };
        *window = value;
        self
    }

    /// TCP options, padded with zeros to a multiple of 4; 40 bytes at most.
    #[must_use]
    #[track_caller]
    pub fn tcp_options(mut self, value: &[u8]) -> Self {
        let Layer4::Tcp { options, .. } = &mut self.layer4 else {
            panic!("tcp_options() is for TCP");
        };
        *options = padded_options(value);
        self
    }

    /// A TCP data offset (in 32-bit words) that need not be true.
    #[must_use]
    #[track_caller]
    pub fn data_offset(mut self, words: u8) -> Self {
        let Layer4::Tcp { data_offset, .. } = &mut self.layer4 else {
            panic!("data_offset() is for TCP");
        };
        *data_offset = Some(words);
        self
    }

    /// UDP checksum field zero: the sender computed none.
    #[must_use]
    #[track_caller]
    pub fn without_udp_checksum(mut self) -> Self {
        let Layer4::Udp { with_checksum, .. } = &mut self.layer4 else {
            panic!("without_udp_checksum() is for UDP");
        };
        *with_checksum = false;
        self
    }

    /// A UDP length that need not be true.
    #[must_use]
    #[track_caller]
    pub fn udp_length(mut self, value: u16) -> Self {
        let Layer4::Udp { length, .. } = &mut self.layer4 else {
            panic!("udp_length() is for UDP");
        };
        *length = Some(value);
        self
    }

    /// Bytes 4 to 7 of an ICMP message: id and sequence, or an MTU, or unused.
    #[must_use]
    #[track_caller]
    pub fn icmp_rest(mut self, bytes: [u8; 4]) -> Self {
        let Layer4::Icmp { rest, .. } = &mut self.layer4 else {
            panic!("icmp_rest() is for ICMP");
        };
        *rest = bytes;
        self
    }

    /// MTU of an ICMP 3/4 (RFC 1191).
    #[must_use]
    #[track_caller]
    pub fn next_hop_mtu(self, mtu: u16) -> Self {
        self.icmp_rest(pair(0, mtu))
    }

    /// Quotes the IP packet of `frame` (untagged Ethernet) as the payload of an
    /// ICMP error, cut after `length` bytes of it when given.
    #[must_use]
    pub fn quoting(self, frame: &[u8], length: Option<usize>) -> Self {
        let packet = frame.get(ETHERNET_LEN..).unwrap_or_default();
        let length = length.unwrap_or(packet.len()).min(packet.len());
        self.payload(&packet[..length])
    }

    /// Appends an RFC 4884 extension after the quote: pads the quote with zeros
    /// to at least 128 bytes, sets the length field (32-bit words), adds the
    /// extension header with its own checksum, then `objects`.
    #[must_use]
    #[track_caller]
    pub fn extension(mut self, objects: &[u8]) -> Self {
        let Layer4::Icmp { rest, .. } = &mut self.layer4 else {
            panic!("extension() is for ICMP errors");
        };
        let quote = self.payload.len().max(128).next_multiple_of(4);
        self.payload.resize(quote, 0);
        // One byte holds the length: 1020 quoted bytes are its limit.
        rest[1] = u8::try_from(quote / 4).unwrap_or(u8::MAX);
        let mut extension = vec![0x20, 0, 0, 0];
        extension.extend(objects);
        let checksum = checksum_of(&extension);
        put16(&mut extension, 2, checksum);
        self.payload.extend(extension);
        self
    }

    /// An IP version that need not be 4.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// An IHL (in 32-bit words) that need not be true.
    #[must_use]
    pub fn ihl(mut self, words: u8) -> Self {
        self.ihl = Some(words);
        self
    }

    /// An IP total length that need not be true.
    #[must_use]
    pub fn total_length(mut self, length: u16) -> Self {
        self.total_length = Some(length);
        self
    }

    /// Makes the IP header checksum wrong.
    #[must_use]
    pub fn break_ip_checksum(mut self) -> Self {
        self.break_ip_checksum = true;
        self
    }

    /// Makes the TCP, UDP or ICMP checksum wrong (never zero).
    #[must_use]
    pub fn break_transport_checksum(mut self) -> Self {
        self.break_transport_checksum = true;
        self
    }

    /// Pads the frame with zeros to the 60 bytes Ethernet sends at least.
    #[must_use]
    pub fn padded(mut self) -> Self {
        self.minimum_frame = MIN_FRAME_LEN;
        self
    }

    /// Bytes after the end of the IP packet, not counted in its total length.
    #[must_use]
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer = bytes.to_vec();
        self
    }
}

fn padded_options(options: &[u8]) -> Vec<u8> {
    assert!(options.len() <= 40, "options are 40 bytes at most");
    let mut padded = options.to_vec();
    padded.resize(options.len().next_multiple_of(4), 0);
    padded
}
