//! What load balancers need besides the dataplane; all but its packets.
//!
//! [`slots`] shares flows out among targets.

pub mod slots;
