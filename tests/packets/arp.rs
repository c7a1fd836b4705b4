//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{ETHERTYPE_ARP, Mac};

/// "Who has `target`? Tell `sender`", broadcast; 42 bytes.
#[must_use]
pub fn arp_request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(1, Mac::BROADCAST, (sender_mac, sender), (Mac::ZERO, target))
}

/// "`sender` is at `sender_mac`", to the one who asked; 42 bytes.
#[must_use]
pub fn arp_reply(sender_mac: Mac, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> Vec<u8> {
    arp(2, target_mac, (sender_mac, sender), (target_mac, target))
}

fn arp(
    operation: u16,
    destination: Mac,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(destination.0);
    frame.extend(sender.0.0);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    // Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
    frame.extend([0, 1, 0x08, 0x00, 6, 4]);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(address.octets());
    }
    frame
}
