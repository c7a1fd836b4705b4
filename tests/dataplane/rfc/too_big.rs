//! Packets larger than the MTU of their next hop that may be fragmented: RFC 4787 REQ-13a, RFC 791.
//! XDP leaves them to TC as they are.

use nat_tests::{
    model::Side,
    packets::{ChecksumState, PacketBuilder, addresses, header_checksum_state, join},
};

use super::*;
use crate::{PRIVATE, PUBLIC, bench::Hook, capture::Capture};

/// All interfaces have this one.
const MTU: usize = 1500;

/// The fragments that are sent on of a packet in so many parts. Each fits, all but the last one are
/// multiples of 8, and the header checksum of each is right. `None` at XDP, which hands it up.
#[track_caller]
fn cut(
    bench: &mut Bench,
    capture: &Capture,
    from: Side,
    frame: &[u8],
    parts: usize,
) -> Option<Vec<Vec<u8>>> {
    capture.drain();
    match (bench.hook(), bench.run(from, frame)) {
        (Hook::Xdp, Outcome::Pass(out)) => {
            assert_eq!(out, frame, "handed up as it was");
            return None;
        }
        (Hook::Tc, Outcome::Cut) => {}
        (hook, other) => panic!("{hook:?}: {other:?}"),
    }
    let fragments = capture.frames(parts);
    assert_eq!(fragments.len(), parts);
    for (index, fragment) in fragments.iter().enumerate() {
        let ip = &fragment[14..];
        assert!(ip.len() <= MTU, "{} bytes", ip.len());
        assert!(matches!(header_checksum_state(ip), ChecksumState::Right));
        let payload = ip.len() - usize::from(ip[0] & 15) * 4;
        assert!(index == parts - 1 || payload.is_multiple_of(8));
    }
    Some(fragments)
}

/// The packet that fragments are together, which is right if the one that came in was.
#[track_caller]
fn joined(fragments: &[Vec<u8>]) -> Ipv4 {
    let whole = join(&fragments.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(checksum_errors(&whole), [""; 0]);
    parsed(&whole)
}

fn large(from: SocketAddrV4, to: SocketAddrV4, length: usize) -> PacketBuilder {
    PacketBuilder::udp(from, to).payload_len(length - 28)
}

/// Through PAT, 1:1 and hairpin, from each side; what arrives is the translated datagram.
pub fn rfc4787_req13a_too_big_without_df_is_cut_both_ways(hook: Hook) {
    let web = SocketAddrV4::new(addresses::WEB_PRIVATE, 5000);
    let web_public = SocketAddrV4::new(addresses::WEB_PUBLIC, 5000);
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let capture = bench.listen();
        let (before, dropped) = (bench.counter("fragmented"), bench.drops("too_big"));
        let mapped = public(&mut bench, &datagram(host(), server()));
        for (length, parts) in [
            (1501, 2),
            (1502, 2),
            (2000, 2),
            (2980, 2),
            (2981, 3),
            (3200, 3),
        ] {
            for (side, from, to, seen) in [
                (PRIVATE, host(), server(), (mapped, server())),
                (Side::Uplink, server(), mapped, (server(), host())),
                (PUBLIC, web, server(), (web_public, server())),
                (Side::Uplink, server(), web_public, (server(), web)),
                (PRIVATE, host(), web_public, (mapped, web)),
            ] {
                for packet in [
                    large(from, to, length),
                    large(from, to, length).without_udp_checksum(),
                ] {
                    let frame = packet.id(4711).build();
                    let Some(fragments) = cut(&mut bench, &capture, side, &frame, parts) else {
                        continue;
                    };
                    let whole = joined(&fragments);
                    let case = format!("{kind:?}: {length} bytes from {from} to {to}");
                    let source = whole.source();
                    assert_eq!(*source.ip(), *seen.0.ip(), "{case}");
                    assert_eq!(whole.destination(), seen.1, "{case}");
                    assert_eq!(whole.ttl, parsed(&frame).ttl - 1, "{case}");
                    let Transport::Udp(udp) = whole.transport else {
                        panic!("{case}");
                    };
                    let Transport::Udp(sent) = parsed(&frame).transport else {
                        panic!("{case}");
                    };
                    assert_eq!(udp.payload, sent.payload, "{case}");
                    assert_eq!(udp.checksum == 0, sent.checksum == 0, "{case}");
                }
            }
        }
        assert_eq!(bench.drops("too_big"), dropped);
        let cut = if hook == Hook::Tc { 60 } else { 0 };
        assert_eq!(bench.counter("fragmented") - before, cut);
    }
}

/// In later fragments nothing stands where the first one has options of its own.
pub fn rfc791_fragments_have_the_options_that_are_to_be_copied(hook: Hook) {
    let mut bench = Kind::Aws.bench(hook);
    let capture = bench.listen();
    public(&mut bench, &datagram(host(), server()));
    // Record route, router alert, time stamp, no operation.
    let options = [7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0x44, 4, 5, 0, 1];
    let later = [1, 1, 1, 1, 1, 1, 1, 0x94, 4, 0, 0, 1, 1, 1, 1, 1];
    let frame = large(host(), server(), 3200).ip_options(&options).build();
    let Some(fragments) = cut(&mut bench, &capture, PRIVATE, &frame, 3) else {
        return;
    };
    assert_eq!(fragments[0][34..50], options);
    assert_eq!(fragments[1][34..50], later);
    assert_eq!(fragments[2][34..50], later);
    joined(&fragments);
}

/// One that came in as a fragment, with others behind it and without; all of them are one datagram.
pub fn rfc791_a_fragment_that_is_too_big_is_cut_further(hook: Hook) {
    let mut bench = Kind::Rfc.bench(hook);
    let capture = bench.listen();
    public(&mut bench, &datagram(host(), server()));
    let whole = large(host(), server(), 3900).id(7).build();
    let mut seen = Vec::new();
    for fragment in nat_tests::packets::fragments_of(&whole, 2000) {
        match cut(&mut bench, &capture, PRIVATE, &fragment, 2) {
            Some(fragments) => seen.extend(fragments),
            None => return,
        }
    }
    let ids: Vec<_> = seen.iter().map(|frame| parsed(frame).id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let together = joined(&seen);
    assert_eq!(
        (together.total_length, together.more_fragments),
        (3900, false)
    );
}

/// Where a public IP is shared, as fragments that came as such; 1:1 and from outside they keep theirs.
pub fn rfc6864_what_is_cut_here_gets_an_identification_of_its_own(hook: Hook) {
    let web = SocketAddrV4::new(addresses::WEB_PRIVATE, 5000);
    let mut bench = Kind::Rfc.bench(hook);
    let capture = bench.listen();
    let mut ids = Vec::new();
    for from in [host(), neighbour()] {
        let frame = large(from, server(), 1600).id(777).build();
        if let Some(fragments) = cut(&mut bench, &capture, PRIVATE, &frame, 2) {
            assert_eq!(parsed(&fragments[0]).id, parsed(&fragments[1]).id);
            ids.push(parsed(&fragments[0]).id);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), if hook == Hook::Tc { 2 } else { 0 });
    let frame = large(web, server(), 1600).id(777).build();
    for fragment in cut(&mut bench, &capture, PUBLIC, &frame, 2).unwrap_or_default() {
        assert_eq!(parsed(&fragment).id, 777);
    }
}

/// In fragments its quote could not be found.
pub fn an_icmp_error_that_is_too_big_is_dropped(hook: Hook) {
    let mut bench = Kind::Aws.bench(hook);
    let public = public(&mut bench, &datagram(host(), server()));
    let quoted = datagram(public, server()).payload_len(1472).build();
    for (length, expected) in [(1472, "forward"), (1473, "too_big")] {
        let error = PacketBuilder::icmp(addresses::SERVER, addresses::NAT_PUBLIC, 3, 3);
        let error = error.quoting(&quoted, Some(length));
        assert_eq!(verdict(&mut bench, Side::Uplink, &error), expected);
    }
}
