//! What the logic of sessions asks of the tables they are in. The dataplane implements it on the BPF
//! maps (`nat-ebpf/src/kernel_tables.rs`), the tests on memory that several threads share.
//!
//! Entries are handed out as pointers into memory that stays valid, but may come to serve another key
//! in the moment after the entry is removed: every entry has a word that says whose it is, which is
//! read after the rest and changed by compare-and-swap only.

use crate::{
    claim::{self, Claim, Entry},
    clock::Tick,
    map_types::{
        Binding, Client, ClientKey, Counter, Gateway, GatewayCounter, Session, SessionKey,
    },
    port_search::Search,
    session_table::Atomics,
    sessions,
    taken_ports::TakenPorts,
};

/// Which of a pair of tables: keyed by what the inside sends, or by what comes in from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Forward halves and BINDINGS.
    Inside,
    /// Reverse halves and BOUND.
    Outside,
}

/// Why an entry was not inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The key is there already.
    Exists,
    /// The kernel could not get at the table in this moment (before 6.15), or a bucket's lock was not to be had.
    Busy,
    /// The table is full.
    Full,
}

/// See the module. Inserts succeed for new keys only: that is what claims are made of.
pub trait Tables: Atomics {
    /// The half of a session.
    fn half(&self, side: Side, key: &SessionKey) -> Option<*mut Session>;
    /// As [`Tables::half`]; to be called by another road where that matters.
    fn half_at_once(&self, key: &SessionKey) -> Option<*mut Session> {
        let side = if key.is_forward() {
            Side::Inside
        } else {
            Side::Outside
        };
        self.half(side, key)
    }
    /// Adds a half.
    fn insert_half(&self, side: Side, key: &SessionKey, half: &Session) -> Result<(), Refused>;
    /// Tells that halves of these keys may be added next.
    fn prepare(&self, _reverse: &SessionKey, _forward: &SessionKey) {}
    /// Removes a half.
    fn remove_half(&self, side: Side, key: &SessionKey);

    /// One side of a binding, or a permission.
    fn binding(&self, side: Side, key: &SessionKey) -> Option<*mut Binding>;
    /// Adds one side.
    fn insert_binding(&self, side: Side, key: &SessionKey, value: &Binding) -> Result<(), Refused>;
    /// Removes one side.
    fn remove_binding(&self, side: Side, key: &SessionKey);

    /// A client that is counted.
    fn client(&self, key: &ClientKey) -> Option<*mut Client>;
    /// Adds one.
    fn insert_client(&self, key: &ClientKey, client: &Client) -> Result<(), Refused>;
    /// Removes one.
    fn remove_client(&self, key: &ClientKey);

    /// The NAT gateway of this number.
    fn gateway(&self, number: u32) -> Option<&Gateway>;

    /// Since when it is known that there is no port under this key of `port_search::exhaustion_key`.
    fn exhausted_since(&self, key: &SessionKey) -> Option<Tick>;
    /// Remembers that.
    fn remember_exhausted(&self, key: &SessionKey, now: Tick);
    /// A port was freed.
    fn forget_exhausted(&self, key: &SessionKey);

    /// What is known of the ports under this key of [`crate::taken_ports::taken_key`]. It may go at any
    /// time.
    fn taken_ports(&self, key: &SessionKey) -> Option<*mut TakenPorts>;
    /// Adds an entry that knows of none, if there is none.
    fn add_taken_ports(&self, key: &SessionKey);

    /// Memory for one search, which nobody else uses meanwhile.
    fn search_space(&self) -> Option<*mut Search>;
    /// Calls [`Search::attempt`] of what is there until it says that is enough, or
    /// [`crate::port_search::ATTEMPTS`] times.
    fn search(&self);

    /// As [`crate::sessions::end_if_expired`], which is all it does; to be called by another road where
    /// that matters.
    fn end_if_expired(&self, key: &SessionKey, now: Tick) -> bool
    where
        Self: Sized,
    {
        sessions::end_if_expired(self, key, now)
    }

    /// As [`claim::make`], likewise.
    fn make(&self, claim: &Claim, reclaims: bool) -> Entry
    where
        Self: Sized,
    {
        claim::make(self, claim, reclaims)
    }

    /// The coarse clock.
    fn now(&self) -> Tick;
    /// A fresh random number.
    fn random(&self) -> u32;
    /// Counts one.
    fn count(&self, counter: Counter);
    /// Counts one for a NAT gateway.
    fn count_for(&self, gateway: u16, counter: GatewayCounter);
}
