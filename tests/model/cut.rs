//! Packets that are too big for their next hop and may be fragmented (RFC 791): cut
//! as they came in, their fragments go on like any others.

use super::rewrite::update_header_checksum;
use crate::packets::{ETHERNET_LEN, be16, put16};

/// The longest packet that is cut.
const LONGEST: usize = 9216;
/// The first fragment has to hold a TCP header.
const SMALLEST: usize = 24;
/// The option that says nothing.
const NO_OPERATION: u8 = 1;

/// The fragments of the packet in `frame`, for an MTU that is less than its length;
/// `None` when it cannot be cut.
pub(super) fn cut(frame: &[u8], mtu: u16) -> Option<Vec<Vec<u8>>> {
    let (ethernet, ip) = frame.split_at(ETHERNET_LEN);
    let (start, end) = (usize::from(ip[0] & 0x0f) * 4, usize::from(be16(ip, 2)));
    let (header, payload) = (&ip[..start], &ip[start..end]);
    let size = usize::from(mtu).saturating_sub(start) / 8 * 8;
    let flags_and_offset = be16(ip, 6);
    let offset = usize::from(flags_and_offset & 0x1fff) * 8;
    if end > LONGEST || size < SMALLEST || offset + payload.len() > 65_535 {
        return None;
    }
    let mut fragments = Vec::new();
    for (number, piece) in payload.chunks(size).enumerate() {
        let at = number * size;
        let mut fragment = [header, piece].concat();
        let total = fragment.len() as u16;
        put16(&mut fragment, 2, total);
        let mut field = flags_and_offset + (at / 8) as u16;
        if at + piece.len() < payload.len() {
            field |= 0x2000;
        }
        put16(&mut fragment, 6, field);
        if at > 0 {
            erase_what_is_not_copied(&mut fragment[20..start]);
        }
        update_header_checksum(ip, &mut fragment);
        fragments.push([ethernet, &fragment].concat());
    }
    Some(fragments)
}

/// Options whose first bit is clear are the first fragment's alone.
fn erase_what_is_not_copied(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let length = match options[at] {
            0 => return,
            1 => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or(0)),
        };
        let is_option = options[at] == NO_OPERATION || length >= 2;
        if !is_option || at + length > options.len() {
            return;
        }
        if options[at] & 0x80 == 0 {
            options[at..at + length].fill(NO_OPERATION);
        }
        at += length;
    }
}
