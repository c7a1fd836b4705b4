//! Halves of sessions as the stages find and use them: global functions, which the verifier looks at once, not
//! anew for each way that leads to them.

use nat_common::{
    clock::Tick,
    flow_cache::Origin,
    map_types::SessionKey,
    sessions::{self, Found},
    shared,
    tables::Side,
    wire::TcpFlags,
};

use crate::{counters, kernel_tables::KernelTables, plan::Carrier, rehearsal, settings, trace};

/// As [`sessions::find`], at this moment: writes to `carrier` what it finds, and whether its packets went
/// their way before in this generation of the policy, from this origin. 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_half(
    key: *const SessionKey,
    carrier: *mut Carrier,
    epoch: u32,
    mut origin: u32,
) -> u32 {
    if key.is_null() || carrier.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows their sizes.
    let (key, carrier) = unsafe { (&*key, &mut *carrier) };
    let (mode, mut now) = (settings::mode(), settings::coarse_clock());
    if mode != settings::DATAPLANE {
        now = settings::now();
        if trace::is_on() {
            if rehearsal::find_made(key, carrier) {
                return 1;
            }
            if rehearsal::is_dying(key) {
                return 0;
            }
            // From nowhere: no packet has passed that way, and every step is taken.
            origin = 0;
        }
    }
    // What let one of them pass says nothing about the next one.
    if key.flow().is_echo_of_0() {
        origin = 0;
    }
    let mut found = Found::NONE;
    if !sessions::find(&KernelTables, side_of(key), key, now, &mut found) {
        return 0;
    }
    carrier.set(key, &found);
    carrier.has_passed = u16::from(found.has_passed(epoch, Origin::from_raw(origin)));
    1
}

#[inline(always)]
const fn side_of(key: &SessionKey) -> Side {
    if key.is_forward() {
        Side::Inside
    } else {
        Side::Outside
    }
}

/// Accounts for packets in a half that was found a moment ago: the last bits of when it was made are in the
/// lower half of `made_and_flags`, TCP flags in the upper one. 0 when it is not there any more, otherwise
/// bits of [`CARRIED`] and the others.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn carry_half(
    key: *const SessionKey,
    made_and_flags: u32,
    packets: u64,
    bytes: u64,
    now: Tick,
) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { &*key };
    let flags = TcpFlags::from_bits((made_and_flags >> 16) as u8);
    let half = sessions::find_again(&KernelTables, side_of(key), key, made_and_flags as u16);
    if half.is_none() {
        return 0;
    }
    half.carry(now, packets, bytes, flags);
    counters::carried(half.gateway, key.is_forward(), packets, bytes);
    let mut answer = CARRIED;
    if half.has_carried_one() {
        answer |= CARRIED_ONE;
    }
    if half.refreshes() {
        answer |= REFRESHES;
    }
    answer
}

/// Answers of [`carry_half`]: the half is there.
pub const CARRIED: u32 = 1;
/// That was its first packet.
pub const CARRIED_ONE: u32 = 1 << 1;
/// Its packets keep the session alive.
pub const REFRESHES: u32 = 1 << 2;

/// The packets of this half went their way in this generation of the policy, from this origin; 1 when it is
/// still there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pass_half(key: *const SessionKey, made: u32, epoch: u32, origin: u32) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { &*key };
    let half = sessions::find_again(&KernelTables, side_of(key), key, made as u16);
    half.pass(epoch, Origin::from_raw(origin));
    1
}

/// A live session has this half; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_in_use(key: *const SessionKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { *key };
    let (mode, mut now) = (settings::mode(), settings::coarse_clock());
    if mode != settings::DATAPLANE {
        now = settings::now();
        if trace::is_on() && rehearsal::is_dying(&key) {
            return 0;
        }
    }
    u32::from(sessions::find(
        &KernelTables,
        side_of(&key),
        &key,
        now,
        &mut { Found::NONE },
    ))
}

/// Somebody inside has the public address and port of this [`nat_common::map_types::bound_key`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_bound(key: *const SessionKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { *key };
    u32::from(shared::live(&KernelTables, &key).is_some())
}

/// As [`sessions::is_over`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_over(key: *const SessionKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { *key };
    u32::from(sessions::is_over(&KernelTables, &key))
}

/// As [`sessions::reopen_if_closing`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reopen_if_closing(key: *const SessionKey, now: Tick) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { *key };
    u32::from(sessions::reopen_if_closing(&KernelTables, &key, now))
}
