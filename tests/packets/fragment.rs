//! Cuts a packet into fragments, as a router would, and joins them, as their receiver does
//! (RFC 791).

use super::{ETHERNET_LEN, be16, checksum_of, put16};

/// The fragments of the packet in `frame` (untagged Ethernet, don't-fragment
/// not looked at), each with at most `payload` bytes after its IP header,
/// rounded down to a multiple of 8. Only options with the copied bit go into
/// later fragments. A packet that already fits comes back as it is.
#[must_use]
pub fn fragments_of(frame: &[u8], payload: usize) -> Vec<Vec<u8>> {
    let (ethernet, ip) = frame.split_at(ETHERNET_LEN);
    let header_len = usize::from(ip[0] & 0x0f) * 4;
    let segment = &ip[header_len..usize::from(be16(ip, 2))];
    let size = (payload / 8 * 8).max(8);
    if segment.len() <= size {
        return vec![frame.to_vec()];
    }
    let last = (segment.len() - 1) / size;
    let pieces = segment.chunks(size).enumerate().map(|(index, piece)| {
        let mut header = ip[..20].to_vec();
        if index == 0 {
            header.extend(&ip[20..header_len]);
        } else {
            header.extend(copied_options(&ip[20..header_len]));
        }
        let words = header.len() / 4;
        header[0] = 0x40 | words as u8;
        let total = header.len() + piece.len();
        put16(&mut header, 2, total as u16);
        let more = if index < last { 0x2000 } else { 0 };
        put16(&mut header, 6, more | (index * size / 8) as u16);
        put16(&mut header, 10, 0);
        let checksum = checksum_of(&header);
        put16(&mut header, 10, checksum);
        [ethernet, &header, piece].concat()
    });
    pieces.collect()
}

/// The options whose copied bit (0x80) is set, padded to a multiple of 4.
fn copied_options(mut options: &[u8]) -> Vec<u8> {
    let mut copied = Vec::new();
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(options.get(1).copied().unwrap_or(0)).max(2),
        };
        let option = &options[..length.min(options.len())];
        if kind & 0x80 != 0 {
            copied.extend(option);
        }
        options = &options[option.len()..];
    }
    copied.resize(copied.len().next_multiple_of(4), 0);
    copied
}

/// The packet that was cut into `fragments`, which are in order and complete, with the
/// header of the first one. What they were cut from may be a fragment itself.
///
/// # Panics
/// When one does not begin where the one before it ends, or is not told to.
#[must_use]
#[track_caller]
pub fn join(fragments: &[&[u8]]) -> Vec<u8> {
    let header_of = |frame: &[u8]| usize::from(frame[ETHERNET_LEN] & 0x0f) * 4;
    let length_of = |frame: &[u8]| usize::from(be16(frame, ETHERNET_LEN + 2)) - header_of(frame);
    let field_of = |frame: &[u8]| be16(frame, ETHERNET_LEN + 6);
    let (first, last) = (fragments[0], fragments[fragments.len() - 1]);
    let start = ETHERNET_LEN + header_of(first);
    let mut whole = first[..start].to_vec();
    let mut at = usize::from(field_of(first) & 0x1fff) * 8;
    for (index, fragment) in fragments.iter().enumerate() {
        let begin = usize::from(field_of(fragment) & 0x1fff) * 8;
        assert_eq!(begin, at, "fragment {index} begins elsewhere");
        let is_last = index == fragments.len() - 1;
        assert!(is_last || field_of(fragment) & 0x2000 != 0, "more come");
        let from = ETHERNET_LEN + header_of(fragment);
        whole.extend(&fragment[from..from + length_of(fragment)]);
        at += length_of(fragment);
    }
    let total = (whole.len() - ETHERNET_LEN) as u16;
    let flags = field_of(last) & 0xe000;
    let ip = &mut whole[ETHERNET_LEN..];
    put16(ip, 2, total);
    put16(ip, 6, flags | field_of(first) & 0x1fff);
    put16(ip, 10, 0);
    let checksum = checksum_of(&ip[..header_of(first)]);
    put16(ip, 10, checksum);
    whole
}
