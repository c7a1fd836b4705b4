//! Which target of a group a flow goes to: a table of slots, which a change of the group changes little.
//!
//! A variation of Maglev (Eisenbud et al., NSDI 2016): a target's preferences are random instead of steps of
//! one length, and the strongest preference of all goes first instead of turns. Turns move up to 3 % of the
//! slots more than need be in a table of this size, Maglev's own steps up to 19 %; a table of 65,537 slots,
//! as in the paper, would cost sixteen times the memory in the kernel.

/// How many slots a table has in the dataplane. Half as many would miss the bound on what moves.
pub const TABLE_SIZE: usize = nat_common::map_types::TARGET_SLOTS;
/// How many targets a group may have for the bounds on balance and on what moves to hold.
pub const MOST_TARGETS: usize = 64;
/// By how much a target may have more slots than its part, in per cent. With less more slots move, because
/// full targets pass them on; with more they move because the parts themselves are random.
const HEADROOM_PERCENT: usize = 2;

/// Which target each of `size` slots goes to, as a position in `targets`. These are identities that last,
/// such as hashes of address and port; their order does not matter. Empty when there are none.
///
/// In a table of [`TABLE_SIZE`], one target more or less moves no slots but its own and 2 % of all. No target
/// has more slots than its part and 2 %, rounded up. Positions are those of the first 65,536.
pub fn table(targets: &[u64], size: usize) -> Vec<u16> {
    if targets.is_empty() {
        return Vec::new();
    }
    let targets = || targets.iter().zip(0..=u16::MAX);
    let most = (size * (100 + HEADROOM_PERCENT)).div_ceil(100 * targets().count());
    let mut room = vec![most; targets().count()];
    let mut bids: Vec<(u64, usize, u16)> = targets()
        .flat_map(|(target, position)| {
            (0..size).map(move |slot| (bid(*target, slot), slot, position))
        })
        .collect();
    bids.sort_unstable_by_key(|(bid, ..)| *bid);
    let mut slots = vec![None; size];
    for (_, slot, position) in bids {
        if let (Some(slot @ None), Some(room @ 1..)) =
            (slots.get_mut(slot), room.get_mut(usize::from(position)))
        {
            *slot = Some(position);
            *room -= 1;
        }
    }
    // Each has been given away: there is room for all, and whoever has some has bid for each.
    slots.into_iter().flatten().collect()
}

/// How much a target wants a slot; less is stronger.
const fn bid(target: u64, slot: usize) -> u64 {
    mixed(target ^ mixed(slot as u64))
}

/// A permutation of all numbers that looks random: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::hash_set, prelude::*};

    use super::*;

    fn identities(table: &[u16], targets: &[u64]) -> Vec<u64> {
        table.iter().map(|at| targets[usize::from(*at)]).collect()
    }

    fn check_balance(table: &[u16], targets: usize) {
        let mut counts = vec![0; targets];
        for position in table {
            counts[usize::from(*position)] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or_default();
        let bound = table.len() as f64 * 1.02 / targets as f64 + 1.0;
        assert!(f64::from(most) <= bound, "{most} of {targets} targets");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    /// `more` is `fewer` and one target.
    fn check_step(fewer: &[u64], more: &[u64]) {
        let before = identities(&table(fewer, TABLE_SIZE), fewer);
        let table = table(more, TABLE_SIZE);
        assert_eq!(table.len(), TABLE_SIZE);
        check_balance(&table, more.len());
        let after = identities(&table, more);
        let moved = |(before, after): &(&u64, &u64)| before != after;
        let moves = before.iter().zip(&after).filter(moved);
        let bound = TABLE_SIZE as f64 * (1.0 / more.len() as f64 + 0.02);
        assert!((moves.clone().count() as f64) <= bound, "{}", more.len());
        let others = moves.filter(|(_, after)| fewer.contains(after)).count();
        assert!(others as f64 <= TABLE_SIZE as f64 * 0.02, "{others}");
    }

    #[test]
    fn a_group_that_grows_to_its_limit_moves_little_and_stays_balanced() {
        // Identities as bad as they get.
        let targets: Vec<u64> = (0..MOST_TARGETS as u64).collect();
        for count in (1..16).chain([24, 40, MOST_TARGETS - 1]) {
            check_step(&targets[..count], &targets[..=count]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn one_target_more_or_less_moves_little(targets in hash_set(any::<u64>(), 2..=MOST_TARGETS)) {
            let targets: Vec<u64> = targets.into_iter().collect();
            check_step(&targets[1..], &targets);
        }

        #[test]
        fn the_order_of_targets_does_not_matter(
            targets in hash_set(any::<u64>(), 1..=MOST_TARGETS),
            size in 1usize..500,
        ) {
            let targets: Vec<u64> = targets.into_iter().collect();
            let turned: Vec<u64> = targets.iter().rev().copied().collect();
            let one = table(&targets, size);
            prop_assert_eq!(one.len(), size);
            prop_assert_eq!(&one, &table(&targets, size));
            prop_assert_eq!(
                identities(&one, &targets),
                identities(&table(&turned, size), &turned)
            );
        }
    }

    #[test]
    fn none_one_and_the_same_target_twice() {
        assert!(table(&[], TABLE_SIZE).is_empty());
        assert_eq!(table(&[7], 5), [0u16; 5]);
        assert!(table(&[7, 8], 0).is_empty());
        let twice = table(&[7, 7], 100);
        assert_eq!(twice.len(), 100);
    }

    /// Flows keep their targets when the controller is another version.
    #[test]
    fn the_table_is_the_same_in_every_version() {
        let expected = [0u16, 2, 1, 1, 2, 1, 0, 0, 0, 1, 1, 0];
        assert_eq!(table(&[1, 2, 3], 12), expected);
    }
}
