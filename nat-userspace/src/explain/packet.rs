//! The packet that is asked about, as a frame.

use nat_common::{checksum::Sum, flow::protocol};

use super::Asked;

/// The station of a sender whose MAC address nobody said.
pub const SOMEBODY: [u8; 6] = [2, 0, 0, 0, 0xfe, 1];

const SYN: u8 = 2;
const ECHO_REQUEST: u8 = 8;
const TTL: u8 = 64;
/// More than any minimal header of a protocol without ports that somebody looks at.
const PAYLOAD: usize = 8;

/// The first packet of its flow: a SYN, a datagram, an echo request, or one of another protocol.
pub fn frame(asked: &Asked, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
    let mut transport = match asked.protocol {
        protocol::TCP => vec![0; 20],
        _ => vec![0; PAYLOAD],
    };
    let length = transport.len() as u16;
    let (source, destination) = (asked.source, asked.destination);
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = transport.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let ports = [source.port(), destination.port()]
        .map(u16::to_be_bytes)
        .concat();
    let checksum_at = match asked.protocol {
        protocol::TCP => {
            put(0, &ports);
            put(12, &[5 << 4, SYN, 0xff, 0xff]);
            Some(16)
        }
        protocol::UDP => {
            put(0, &ports);
            put(4, &length.to_be_bytes());
            Some(6)
        }
        protocol::ICMP => {
            put(0, &[ECHO_REQUEST]);
            put(4, &source.port().to_be_bytes());
            Some(2)
        }
        _ => None,
    };
    let addresses = [source.ip().octets(), destination.ip().octets()].concat();
    if let Some(at) = checksum_at {
        let mut summed = transport.clone();
        if asked.protocol != protocol::ICMP {
            summed.extend(&addresses);
            summed.extend([0, asked.protocol]);
            summed.extend(length.to_be_bytes());
        }
        let checksum = checksum(&summed);
        if let Some(place) = transport.get_mut(at..at + 2) {
            place.copy_from_slice(&checksum);
        }
    }
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    header.extend([0, 0, 0, 0, TTL, asked.protocol, 0, 0]);
    header.extend(&addresses);
    let sum = checksum(&header);
    header.splice(10..12, sum);
    [&to[..], &from, &[8, 0], &header, &transport].concat()
}

/// RFC 1071, as it stands in a packet.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2);
    let sum = words.fold(Sum::default(), |sum, pair| {
        sum.add16(
            pair.iter()
                .fold(0, |word, byte| word << 8 | u16::from(*byte)),
        )
    });
    sum.checksum().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use nat_common::parse::{self, Transport};

    use super::*;

    #[test]
    fn each_frame_is_what_it_says() {
        for (number, expected) in [
            (protocol::TCP, Transport::Tcp),
            (protocol::UDP, Transport::Udp),
            (protocol::ICMP, Transport::IcmpEchoRequest),
            (47, Transport::Opaque),
        ] {
            let asked = Asked {
                protocol: number,
                source: "10.0.0.1:4000".parse().unwrap(),
                destination: "192.0.2.1:80".parse().unwrap(),
                vpc: None,
                interface: None,
            };
            let frame = frame(&asked, SOMEBODY, [2; 6]);
            let packet = parse::ipv4(frame.as_slice()).unwrap();
            assert_eq!(packet.transport, expected);
            assert_eq!(checksum(&frame[14..34]), [0, 0], "IPv4");
            if number == protocol::TCP {
                assert!(packet.flags.opens());
                let pseudo = [&frame[34..], &frame[26..34], &[0, 6, 0, 20]].concat();
                assert_eq!(checksum(&pseudo), [0, 0], "TCP");
            }
            if number == protocol::ICMP {
                assert_eq!(checksum(&frame[34..]), [0, 0], "ICMP");
                assert_eq!(packet.flow.source_port.get(), 4000);
            }
        }
    }
}
