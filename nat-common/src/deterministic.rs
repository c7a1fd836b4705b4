//! Deterministic NAT (RFC 7422): which ports serve which client is computed, not kept. Each client of
//! an address range has a block of ports of its own, so nothing has to be logged to tell later who
//! was behind a public address and port.
//!
//! All public addresses have pools of the same size. Clients are numbered by their offset in the range,
//! ports by their index in the pool.

/// The ports of one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Which of the public addresses.
    pub slot: u32,
    /// Index of its first port in the pool.
    pub first: u32,
    /// How many ports, at least 1.
    pub size: u32,
}

/// Clients on one public address, and ports of each, at least 1. `None` when there are more clients
/// than ports, or no clients or addresses at all.
#[inline(always)]
const fn shares(pool: u32, addresses: u32, clients: u32) -> Option<(u32, u32)> {
    let Some(rounded_up) = clients.checked_add(addresses.wrapping_sub(1)) else {
        return None;
    };
    let Some(per_address) = rounded_up.checked_div(addresses) else {
        return None;
    };
    match pool.checked_div(per_address) {
        None | Some(0) => None,
        Some(size) => Some((per_address, size)),
    }
}

/// The block of a client among `clients`, behind `addresses` public addresses with `pool` ports each.
/// `None` when it is none of the clients, or the ports do not suffice.
#[inline(always)]
pub const fn block(pool: u32, addresses: u32, clients: u32, client: u32) -> Option<Block> {
    let Some((per_address, size)) = shares(pool, addresses, clients) else {
        return None;
    };
    if client >= clients {
        return None;
    }
    let (Some(slot), Some(turn)) = (
        client.checked_div(per_address),
        client.checked_rem(per_address),
    ) else {
        return None;
    };
    Some(Block {
        slot,
        first: turn * size,
        size,
    })
}

/// The inverse of [`block`]: whose port it is that has this index on this public address. `None` when
/// it is nobody's.
pub const fn client(pool: u32, addresses: u32, clients: u32, slot: u32, index: u32) -> Option<u32> {
    let Some((per_address, size)) = shares(pool, addresses, clients) else {
        return None;
    };
    let Some(turn) = index.checked_div(size) else {
        return None;
    };
    if turn >= per_address || slot >= addresses || index >= pool {
        return None;
    }
    let client = slot as u64 * per_address as u64 + turn as u64;
    if client >= clients as u64 {
        return None;
    }
    Some(client as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc7422_a_slash_24_behind_two_addresses_has_504_ports_each() {
        let block = |client| block(64_512, 2, 256, client);
        let of = |slot, first| {
            Some(Block {
                slot,
                first,
                size: 504,
            })
        };
        assert_eq!(block(0), of(0, 0));
        assert_eq!(block(127), of(0, 127 * 504));
        assert_eq!(block(128), of(1, 0));
        assert_eq!(block(256), None);
    }

    #[test]
    fn more_clients_than_ports_is_no_plan() {
        assert_eq!(block(100, 2, 201, 0), None);
        assert!(block(100, 2, 200, 0).is_some());
        assert_eq!(block(100, 0, 10, 0), None);
        assert_eq!(block(100, 1, 0, 0), None);
    }

    proptest! {
        #[test]
        fn rfc7422_every_port_of_a_block_leads_back_to_its_client(
            pool in 1u32..=65_535, addresses in 1u32..=8, clients in 1u32..70_000, pick in any::<u32>(),
        ) {
            let number = pick % clients;
            if let Some(block) = block(pool, addresses, clients, number) {
                prop_assert!(block.size > 0 && block.first + block.size <= pool);
                for index in [block.first, block.first + block.size - 1] {
                    prop_assert_eq!(client(pool, addresses, clients, block.slot, index), Some(number));
                }
            }
        }

        #[test]
        fn rfc7422_a_port_outside_its_clients_block_is_nobodys(
            pool in 1u32..=2000, addresses in 1u32..=8, clients in prop_oneof![1u32..300, 1u32..3000], slot in 0u32..8, index in 0u32..2000,
        ) {
            match client(pool, addresses, clients, slot, index) {
                Some(number) => {
                    let block = block(pool, addresses, clients, number).unwrap();
                    prop_assert!(block.slot == slot);
                    prop_assert!((block.first..block.first + block.size).contains(&index));
                }
                None => {
                    for number in 0..clients {
                        if let Some(block) = block(pool, addresses, clients, number) {
                            prop_assert!(
                                block.slot != slot
                                    || !(block.first..block.first + block.size).contains(&index)
                            );
                        }
                    }
                }
            }
        }
    }
}
