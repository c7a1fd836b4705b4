//! Whether targets are well: a [`Checker`] asks each now and then, `check` does it once, and [`State`] is
//! what comes of it.

mod check;
mod checker;
mod state;

#[cfg(test)]
pub use check::perform;
pub use check::{Check, Failure, Kind};
#[cfg(test)]
pub use checker::AT_ONCE;
pub use checker::{Checker, States};
pub use state::{State, Status, Thresholds};
