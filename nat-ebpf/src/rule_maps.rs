//! Security groups and network ACLs, classified by the controller (`nat_common::rules`).

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{HashMap, LpmTrie, lpm_trie::Key},
};
use nat_common::{
    address::Address,
    map_types::{GroupKey, Judgement, PortKey, ScopedAddress, sided},
    policy::What,
    rules::{self, Rules},
};

use crate::policy_maps::View;

#[map]
static RULESETS: LpmTrie<ScopedAddress, u32> = LpmTrie::pinned(524_288, 0);
#[map]
static GROUP_RULES: HashMap<GroupKey, u32> = HashMap::pinned(131_072, BPF_F_NO_PREALLOC);
#[map]
static PORT_RULES: LpmTrie<PortKey, Judgement> = LpmTrie::pinned(1_048_576, 0);

/// The rules of one side.
struct Side(u32);

impl Rules for Side {
    #[inline(always)]
    fn class_of_address(&self, ruleset: u32, remote: Address) -> Option<u32> {
        let key = ScopedAddress {
            scope: sided(ruleset, self.0),
            address: remote,
        };
        RULESETS
            .get(Key::new(ScopedAddress::FULL_BITS, key))
            .copied()
    }

    #[inline(always)]
    fn class_of_groups(&self, ruleset: u32, set: u32) -> Option<u32> {
        let key = GroupKey {
            ruleset: sided(ruleset, self.0),
            set,
        };
        // SAFETY: a map element's memory stays valid; `View::is_whole` tells whether it was written
        // meanwhile.
        unsafe { GROUP_RULES.get(key) }.copied()
    }

    #[inline(always)]
    fn judgement(&self, class: u32, protocol: u8, port: u16) -> Option<Judgement> {
        let key = PortKey::new(sided(class, self.0), protocol, port);
        PORT_RULES.get(Key::new(PortKey::FULL_BITS, key)).copied()
    }
}

/// What an ACL says.
#[inline(always)]
pub fn of_acl(view: View, ruleset: u32, remote: Address, what: What) -> Judgement {
    Judgement(judge(view.side(), ruleset, remote.raw(), 0, in_one(what)))
}

/// What a set of groups says about a remote end with the set of groups `remote_set`, or 0.
#[inline(always)]
pub fn of_groups(
    view: View,
    ruleset: u32,
    remote: Address,
    remote_set: u32,
    what: What,
) -> Judgement {
    let side = view.side();
    Judgement(judge(side, ruleset, remote.raw(), remote_set, in_one(what)))
}

#[inline(always)]
const fn in_one(what: What) -> u32 {
    (what.protocol as u32) << 16 | what.port as u32
}

/// A global function: the verifier looks at it once, not anew for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge(side: u32, ruleset: u32, remote: u32, remote_set: u32, what: u32) -> u32 {
    let (protocol, port) = ((what >> 16) as u8, what as u16);
    rules::judge_groups(
        &Side(side & 1),
        ruleset,
        Address::from_raw(remote),
        remote_set,
        protocol,
        port,
    )
    .0
}
