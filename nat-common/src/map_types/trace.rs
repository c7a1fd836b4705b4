//! The steps of one decision, as `nat explain` reads them.

/// Steps that are noted down, at most.
pub const TRACED_STEPS: usize = 32;

/// One step.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TracedStep {
    /// A [`crate::policy::Step`].
    pub step: u32,
    /// Its value.
    pub value: u32,
    /// Its detail.
    pub detail: u32,
}

/// The steps of one packet, in their order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// How many.
    pub count: u32,
    /// The first so many.
    pub steps: [TracedStep; TRACED_STEPS],
}
const _: () = assert!(size_of::<Trace>() == 388);
