//! What holds of the table while CPUs are at work, when none is, and when all of it is removed.

use nat_common::{
    map_types::SessionKey,
    session_table::{Half, SLOTS, find, find_line, half, taken},
};

use super::{
    MANY_PASSED, MOST_PASSED,
    answers::{Answer, Event, could_be_a_maps},
    table::{LOCKED, ONE_PASSED, Table, key, passed},
};

impl Table {
    fn lines_in_use(&self) -> Vec<Half> {
        let mut lines = Vec::new();
        for (bucket, word) in self.words().into_iter().enumerate() {
            for slot in taken(word) {
                // SAFETY: one thread runs at a time.
                lines.push(unsafe { *self.lines[bucket * SLOTS as usize + slot as usize].get() });
            }
        }
        lines
    }

    /// No key is in two lines, whoever is at work.
    pub fn judge_lines(&self) {
        let lines = self.lines_in_use();
        for (at, half) in lines.iter().enumerate() {
            let is_elsewhere = lines[at + 1..].iter().any(|other| other.key == half.key);
            assert!(
                half.key == SessionKey::default() || !is_elsewhere,
                "{:?} is in two lines",
                half.key
            );
        }
    }

    /// Nobody is at work: each line is complete, and answers were those of a map.
    pub fn audit(&self) {
        let mut there = 0;
        for half in self.lines_in_use() {
            assert!(half.is_somebodys(), "{half:?} is nobody's");
        }
        let numbers: Vec<_> = self.ledger.borrow().events.keys().copied().collect();
        for number in numbers {
            self.look(number, || find(self, &key(number)));
            let last = self.look(number, || half(self, find_line(self, &key(number))));
            assert!(
                matches!(last, Answer::Found(_) | Answer::Missed),
                "{number} is left behind dead"
            );
            there += usize::from(last != Answer::Missed);
            let ledger = self.ledger.borrow();
            let events = &ledger.events[&number];
            assert!(
                could_be_a_maps(events),
                "no map gives these answers for key {number}: {events:#?}"
            );
        }
        assert_eq!(self.lines_in_use().len(), there, "lines that nobody finds");
    }

    /// Removes everything: nothing is left, but the counts of buckets that were passed too often to count.
    pub fn clear(&self) {
        let numbers: Vec<_> = self.ledger.borrow().events.keys().copied().collect();
        for number in numbers {
            let answer = self.end(number);
            assert!(matches!(answer, Answer::Removed(_) | Answer::Missed));
        }
        for line in &self.lines {
            // SAFETY: one thread runs at a time.
            let line = unsafe { *line.get() };
            assert_eq!((line.key, line.session.mark), Default::default());
        }
        let words = self.words();
        assert!(
            words
                .iter()
                .all(|word| word % ONE_PASSED == 0 && word & LOCKED == 0)
        );
        if self.ledger.borrow().tally.given_up != 0 {
            return;
        }
        let counts: Vec<_> = words.into_iter().map(passed).collect();
        assert!(
            counts
                .iter()
                .all(|count| matches!(*count, 0 | MANY_PASSED..MOST_PASSED)),
            "keys that are gone are counted: {counts:?}"
        );
        if counts.iter().all(|count| *count == 0) {
            self.judge_counts();
        }
    }

    /// Whatever a key passed over it took back, and at once when it did not fit.
    fn judge_counts(&self) {
        for (number, events) in &self.ledger.borrow().events {
            let (mut passed, mut unpassed) = (0, 0);
            for Event {
                answer, changes, ..
            } in events
            {
                passed += changes.passed;
                unpassed += changes.unpassed;
                if *answer == Answer::Full {
                    assert_ne!(changes.passed, 0);
                    assert_eq!(changes.passed, changes.unpassed, "Full leaves a trace");
                }
            }
            assert_eq!(passed, unpassed, "of key {number}");
        }
    }
}
