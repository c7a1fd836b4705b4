//! `nat down`.

use super::Outcome;
use crate::{controller, pins::Pins};

/// Detaches and unpins everything.
pub fn run(pins: &Pins) -> Outcome {
    Ok(controller::tear_down(pins)?)
}
