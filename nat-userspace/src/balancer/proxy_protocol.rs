//! The header of the PROXY protocol, version 2, which tells a target whose connection it gets:
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::net::SocketAddrV4;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of somebody.
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
/// Kinds of TLVs; the last one is AWS's, and says with this subtype by which endpoint a connection came.
const CRC32C: u8 = 0x03;
const AWS: u8 = 0xea;
const AWS_ENDPOINT_ID: u8 = 0x01;
/// Where the checksum is when its TLV is the first one: behind signature, kind, length and addresses.
const CHECKSUM_AT: usize = 16 + 12 + 3;

/// How long the id of an endpoint may be, in bytes. The header then fits into the first segment of any
/// connection, as the specification wants.
pub const ENDPOINT_ID_BYTES: usize = 255;

/// Why there is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the id of an endpoint has {0} bytes; {ENDPOINT_ID_BYTES} are possible")]
    EndpointIdTooLong(usize),
}

/// The header of a TCP connection from `source` to `destination`, that came by an endpoint or not. It has a
/// checksum, as AWS's.
///
/// # Errors
///
/// The id of the endpoint is too long.
pub fn encode(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    endpoint_id: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    body.extend(source.ip().octets());
    body.extend(destination.ip().octets());
    body.extend(source.port().to_be_bytes());
    body.extend(destination.port().to_be_bytes());
    body.extend([CRC32C, 0, 4, 0, 0, 0, 0]);
    if let Some(id) = endpoint_id {
        let too_long = || Error::EndpointIdTooLong(id.len());
        if id.len() > ENDPOINT_ID_BYTES {
            return Err(too_long());
        }
        let length = u16::try_from(1 + id.len()).map_err(|_| too_long())?;
        body.push(AWS);
        body.extend(length.to_be_bytes());
        body.push(AWS_ENDPOINT_ID);
        body.extend(id.bytes());
    }
    // It is some three hundred at most.
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, TCP_OVER_IPV4]);
    header.extend(length.to_be_bytes());
    header.extend(body);
    let checksum = crc32c(&header).to_be_bytes();
    header.splice(CHECKSUM_AT..CHECKSUM_AT + checksum.len(), checksum);
    Ok(header)
}

/// CRC-32C of RFC 3720, bit by bit: a header is short, and there is one for each connection.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let remainder = bytes.iter().fold(u32::MAX, |remainder, byte| {
        (0..8).fold(remainder ^ u32::from(*byte), |remainder, _| {
            let carry = if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            (remainder >> 1) ^ carry
        })
    });
    !remainder
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader, Tlv};

    use super::*;

    fn at(ip: [u8; 4], port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(ip.into(), port)
    }

    /// Without what the TLV of the checksum says.
    fn without_checksum(header: &[u8]) -> Vec<u8> {
        let mut header = header.to_vec();
        header[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
        header
    }

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let counting: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&counting), 0x46dd_794e);
    }

    /// What a load balancer of AWS sent; its padding is the one thing that we leave out.
    #[test]
    fn a_header_of_aws_has_the_same_checksum_over_the_same_bytes() {
        let mut theirs = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x54".to_vec();
        theirs.extend([172, 31, 7, 113, 172, 31, 10, 31, 0xc8, 0xf2, 0, 80]);
        theirs.extend([0x03, 0, 4, 0xe8, 0xd6, 0x89, 0x2d, 0xea, 0, 0x17, 0x01]);
        theirs.extend(b"vpce-08d2bf15fac5001c9\x04\0\x24");
        theirs.extend([0; 36]);
        assert_eq!(crc32c(&without_checksum(&theirs)), 0xe8d6_892d);

        let source = at([172, 31, 7, 113], 51442);
        let destination = at([172, 31, 10, 31], 80);
        let ours = encode(source, destination, Some("vpce-08d2bf15fac5001c9")).expect("a header");
        let padding = 39;
        let mut expected = without_checksum(&theirs[..theirs.len() - padding]);
        expected[15] -= 39;
        assert_eq!(without_checksum(&ours), expected);
    }

    #[test]
    fn without_an_endpoint_there_are_addresses_and_the_checksum() {
        let header = encode(at([192, 0, 2, 1], 0x1234), at([10, 0, 0, 9], 443), None);
        let header = header.expect("a header");
        let expected = [
            0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0,
            19, 192, 0, 2, 1, 10, 0, 0, 9, 0x12, 0x34, 0x01, 0xbb, 0x03, 0, 4, 0, 0, 0, 0,
        ];
        assert_eq!(without_checksum(&header), expected);
        assert_eq!(header[CHECKSUM_AT..], crc32c(&expected).to_be_bytes());
    }

    #[test]
    fn an_id_may_have_255_bytes() {
        let (source, destination) = (at([10, 0, 0, 1], 1), at([10, 0, 0, 2], 2));
        let encoded = |length| encode(source, destination, Some(&"x".repeat(length)));
        // The smallest segment that every host takes.
        assert!(encoded(255).expect("a header").len() <= 536);
        assert_eq!(encoded(256), Err(Error::EndpointIdTooLong(256)));
    }

    proptest! {
        /// Somebody else's reader.
        #[test]
        fn what_is_written_is_read(
            source: (u32, u16),
            destination: (u32, u16),
            id in proptest::option::of("[ -~]{0,255}"),
        ) {
            let source = SocketAddrV4::new(source.0.into(), source.1);
            let destination = SocketAddrV4::new(destination.0.into(), destination.1);
            let bytes = encode(source, destination, id.as_deref()).expect("short enough");
            let config = ParseConfig { include_tlvs: true, allow_v1: false, ..ParseConfig::default() };
            let (header, length) = ProxyHeader::parse(&bytes, config).expect("a header");
            prop_assert_eq!(length, bytes.len());
            let addresses = ProxiedAddress::stream(SocketAddr::V4(source), SocketAddr::V4(destination));
            prop_assert_eq!(header.proxied_address(), Some(&addresses));
            let tlvs: Vec<_> = header.tlvs().collect::<Result<_, _>>().expect("whole TLVs");
            let checksum = Tlv::Crc32c(crc32c(&without_checksum(&bytes)));
            let endpoint = id.map(|id| Tlv::Custom(0xea, format!("\x01{id}").into_bytes().into()));
            let expected: Vec<_> = [Some(checksum), endpoint].into_iter().flatten().collect();
            prop_assert_eq!(tlvs, expected);
        }
    }
}
