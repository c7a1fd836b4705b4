//! The table of session halves itself, with few buckets, so that keys crowd and pass over full ones. Every
//! answer is written down with the time it took: in the end they must be those that a map could have
//! given, one operation after the other. Halves are removed as `sessions.rs` does it: by whoever marks one
//! dead, and nobody else.
//!
//! `table` has its operations, `answers` what becomes of them, `audit` what must hold.

mod answers;
mod audit;
mod table;

use std::sync::{Arc, Mutex};

use nat_common::session_table::{Memory, SLOTS, find_line, insert, remove};
use shuttle::rand::{Rng, thread_rng};

use super::explore::repeat;
use answers::{Answer, Tally};
use table::{Table, key, made, passed};

/// So many are counted, and stay; CPUs that count one at the same time may make it more.
const MANY_PASSED: u64 = 32;
const MOST_PASSED: u64 = MANY_PASSED + MOST_CPUS as u64;

/// CPUs at work at the same time.
const MOST_CPUS: usize = 4;

/// One scenario in an empty table of each size; what came of it must be enough.
fn race(
    name: &str,
    sizes: &[u32],
    schedules: usize,
    scenario: fn(&Arc<Table>),
    is_enough: fn(u32, &Tally) -> bool,
) {
    for &buckets in sizes {
        let sum = Arc::new(Mutex::new(Tally::default()));
        let total = Arc::clone(&sum);
        let run = move || {
            let table = Arc::new(Table::new(buckets));
            scenario(&table);
            table.audit();
            table.clear();
            total
                .lock()
                .expect("nobody panicked")
                .add(&table.ledger.borrow().tally);
        };
        let title = format!("{name}, buckets {buckets}");
        repeat(&title, &buckets, schedules, run);
        let tally = *sum.lock().expect("nobody panicked");
        println!("{tally:?}");
        assert!(
            tally.schedules == 0 || is_enough(buckets, &tally),
            "{title} does not do what it is for: {tally:?}"
        );
    }
}

fn cpus() -> usize {
    thread_rng().gen_range(2..=MOST_CPUS)
}

#[test]
fn operations_answer_as_if_one_came_after_the_other() {
    let scenario = |table: &Arc<Table>| {
        let left = table.crowd(thread_rng().gen_range(1..=4));
        for _ in 0..2 {
            let left = left.clone();
            table.together(cpus(), move |table, _| {
                for _ in 0..thread_rng().gen_range(1..=5) {
                    // Now and then one that crowds, too: its line becomes free for another.
                    match thread_rng().gen_range(0..6) {
                        4 => table.anything(left[0]),
                        5 => table.anything(left[1]),
                        number => table.anything(number),
                    }
                }
            });
            table.audit();
        }
    };
    race("anything", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 4;
        let is_found = tally.found > tally.schedules && tally.half_done > 0;
        is_found && passes_over && tally.exists > tally.schedules && tally.full > 100
    });
}

#[test]
fn of_two_inserts_of_a_key_one_succeeds() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=3));
        let cpus = cpus();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let given = Arc::clone(&answers);
        table.together(cpus, move |table, _| {
            let answer = table.insert(0);
            given.lock().expect("nobody panicked").push(answer);
        });
        let mut answers = answers.lock().expect("nobody panicked").clone();
        answers.retain(|answer| !matches!(answer, Answer::Exists | Answer::Busy));
        assert!(matches!(answers[..], [Answer::Inserted(_)]), "{answers:?}");
    };
    race("one key", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 8;
        passes_over && tally.exists > tally.schedules
    });
}

#[test]
fn of_two_that_end_a_key_one_removes_it() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=3));
        assert!(matches!(table.insert(0), Answer::Inserted(_)));
        let cpus = cpus();
        let removed = Arc::new(Mutex::new(0));
        let count = Arc::clone(&removed);
        table.together(cpus, move |table, _| {
            if matches!(table.end(0), Answer::Removed(_)) {
                *count.lock().expect("nobody panicked") += 1;
            }
        });
        assert_eq!(*removed.lock().expect("nobody panicked"), 1);
    };
    race("one removal", &[1, 2, 3], 300, scenario, |_, tally| {
        tally.removed == tally.schedules && tally.lost > tally.schedules / 2
    });
}

#[test]
fn a_key_that_stays_is_found_while_others_come_and_go() {
    let scenario = |table: &Arc<Table>| {
        let others = table.crowd(thread_rng().gen_range(1..=3));
        table.together(4, move |table, cpu| match cpu {
            0 => {
                if matches!(table.insert(0), Answer::Inserted(_)) {
                    for _ in 0..3 {
                        assert!(matches!(table.find(0), Answer::Found(_)));
                    }
                }
            }
            // What they leave free is where the first one goes, and what it passed over.
            1 => {
                for number in &others[..2] {
                    table.end(*number);
                }
                table.insert(1);
                table.end(1);
            }
            2 => {
                for number in 2..4 {
                    table.insert(number);
                    table.end(number);
                }
            }
            _ => {
                for number in &others[2..] {
                    assert!(matches!(table.find(*number), Answer::Found(_)));
                }
            }
        });
    };
    race("one stays", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 8;
        passes_over && tally.found > 3 * tally.schedules && tally.removed > 3 * tally.schedules
    });
}

#[test]
fn a_line_that_changes_hands_is_nobodys_in_between() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(1);
        table.together(4, |table, cpu| {
            for number in [0, 1, 0] {
                match cpu {
                    0 => {
                        table.insert(number);
                        table.end(number);
                    }
                    1 => {
                        table.end(number);
                        table.insert(1 - number);
                    }
                    _ => {
                        table.find(number);
                    }
                }
            }
        });
    };
    race("one line", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules;
        passes_over && tally.half_done > 5 && tally.removed > 2 * tally.schedules
    });
}

#[test]
fn a_line_whose_key_was_read_in_two_parts_is_not_emptied() {
    let scenario = |table: &Arc<Table>| {
        let other = table.crowd(2)[0];
        assert!(matches!(table.insert(0), Answer::Inserted(_)));
        table.together(3, move |table, cpu| match cpu {
            // Looks like the line of a key that is not there.
            0 => {
                let line = find_line(table, &key(other));
                table.misread.set(Some((key(1), line)));
                assert!(!remove(table, &key(1)));
                table.misread.set(None);
            }
            1 => {
                table.end(0);
                table.insert(0);
            }
            _ => {
                assert!(matches!(table.find(other), Answer::Found(_)));
            }
        });
        assert!(matches!(table.find(other), Answer::Found(_)));
    };
    race("misread", &[1, 2, 3], 100, scenario, |_, tally| {
        tally.removed == tally.schedules
    });
}

#[test]
fn a_key_that_comes_anew_into_its_line_is_there_or_not() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=2));
        table.insert(0);
        table.together(3, |table, cpu| {
            for _ in 0..3 {
                match cpu {
                    0 => {
                        table.end(0);
                        table.insert(0);
                    }
                    1 => {
                        table.end(0);
                    }
                    _ => {
                        table.find(0);
                    }
                }
            }
        });
    };
    race("anew", &[1, 2], 1500, scenario, |_, tally| {
        tally.removed > 2 * tally.schedules && tally.half_done > tally.schedules / 4
    });
}

#[test]
fn a_key_that_comes_home_from_further_on_has_left_its_line_there() {
    let scenario = |table: &Arc<Table>| {
        let others = table.crowd(1);
        table.insert(0);
        table.together(3, move |table, cpu| match cpu {
            0 => {
                table.end(0);
            }
            // Its own bucket may get room.
            1 => {
                for number in &others[..4] {
                    table.end(*number);
                }
            }
            _ => {
                for _ in 0..3 {
                    table.insert(0);
                }
            }
        });
    };
    race("home", &[2, 3], 1000, scenario, |_, tally| {
        tally.inserted > tally.schedules / 3 && tally.exists > tally.schedules
    });
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(0);
        let words = table.words();
        table.together(cpus(), |table, cpu| {
            table.insert(cpu as u32);
            table.find(0);
            table.insert(0);
        });
        if table.ledger.borrow().tally.given_up == 0 {
            assert_eq!(table.words(), words);
        }
    };
    race("full", &[1, 2, 3], 150, scenario, |_, tally| {
        tally.full > 2 * tally.schedules && tally.given_up * 100 < tally.schedules
    });
}

/// Numbers of keys of one bucket: they all begin at the first one's.
fn of_one_bucket(table: &Table, count: usize) -> Vec<u32> {
    let empty = Table {
        seed: table.seed,
        ..Table::new(table.buckets())
    };
    let bucket = |number: u32| {
        let key = key(number);
        assert_eq!(insert(&empty, &key, &made(number, 1)), Ok(()));
        let line = find_line(&empty, &key) - 1;
        assert!(remove(&empty, &key));
        line / SLOTS
    };
    let first = bucket(0);
    (0..)
        .filter(|number| bucket(*number) == first)
        .take(count)
        .collect()
}

#[test]
fn a_bucket_passed_by_too_many_to_count_stays_passed() {
    let scenario = |table: &Arc<Table>| {
        let numbers = of_one_bucket(table, 60);
        // All but the first eight pass: some fewer than are counted, or some more.
        let count = thread_rng().gen_range(36..=46);
        let (many, stay) = (MANY_PASSED as usize + SLOTS as usize, 30..count);
        for number in &numbers[..count] {
            assert!(matches!(table.insert(*number), Answer::Inserted(_)));
        }
        let shared = numbers.clone();
        table.together(MOST_CPUS, move |table, cpu| {
            for at in 0..2 {
                let number = |first: usize| shared[first + 2 * cpu + at];
                table.insert(number(50));
                assert!(matches!(
                    table.find(shared[thread_rng().gen_range(stay.clone())]),
                    Answer::Found(_)
                ));
                assert!(matches!(table.end(number(8)), Answer::Removed(_)));
                table.end(number(50));
            }
        });
        for number in &numbers[..30] {
            table.end(*number);
        }
        let counted = table.words().into_iter().map(passed).max();
        assert!(count < many || counted >= Some(MANY_PASSED));
        // Those that are left are found.
        table.audit();
        for number in &numbers[30..count] {
            assert!(matches!(table.end(*number), Answer::Removed(_)));
        }
        if counted >= Some(MANY_PASSED) {
            table.ledger.borrow_mut().tally.saturated += 1;
        }
    };
    race("too many", &[17], 100, scenario, |_, tally| {
        let is_either = 0 < tally.saturated && tally.saturated < tally.schedules;
        is_either && tally.removed > 4 * tally.schedules
    });
}
