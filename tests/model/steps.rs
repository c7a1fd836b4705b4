//! What happens to a NAT in a test, step by step, and the few steps that matter.

use std::time::Duration;

use super::{Model, ModelConfig, Side};

/// One thing that happens to a NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame comes in.
    Packet(Side, Vec<u8>),
    /// Time passes.
    Advance(Duration),
    /// Idle sessions are removed.
    Sweep,
    /// Another configuration comes, see [`Model::apply`].
    Apply(Box<ModelConfig>),
}

impl Step {
    /// Does this to a NAT, except for a packet: that is for the caller to send in.
    pub fn take(self, nat: &mut Model, now: &mut Duration) -> Option<(Side, Vec<u8>)> {
        match self {
            Self::Packet(ingress, frame) => return Some((ingress, frame)),
            Self::Advance(time) => *now += time,
            Self::Sweep => nat.forget_idle(*now),
            Self::Apply(config) => nat.apply(*now, *config),
        }
        None
    }
}

/// How often `fails` is asked at most.
const MOST_RUNS: usize = 2_000;

/// A part of `steps`, in their order, that `fails` still says true to: delta
/// debugging (Zeller and Hildebrandt, ddmin). Leaving any one step out of it makes
/// it pass, unless so many runs were needed that the search ended before.
///
/// `fails` starts anew at each call. `steps` themselves must fail; if they do not,
/// they come back as they are.
pub fn shrink(steps: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut runs = 0;
    let mut still_fails = |steps: &[Step]| {
        runs += 1;
        (runs <= MOST_RUNS).then(|| fails(steps))
    };
    let mut kept = steps.to_vec();
    if still_fails(&kept) != Some(true) {
        return kept;
    }
    let mut parts = 2;
    while kept.len() > 1 {
        let length = kept.len().div_ceil(parts);
        let mut smaller = None;
        for start in (0..kept.len()).step_by(length) {
            let end = kept.len().min(start + length);
            let rest = [&kept[..start], &kept[end..]].concat();
            match still_fails(&rest) {
                Some(true) => {
                    smaller = Some(rest);
                    break;
                }
                Some(false) => {}
                None => return kept,
            }
        }
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = (parts - 1).max(2);
            }
            None if length == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}
