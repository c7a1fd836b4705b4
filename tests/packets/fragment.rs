//! Cuts a packet into fragments, as a router would (RFC 791).

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
