//! What load balancers need besides the dataplane; all but its packets.
//!
//! [`slots`] shares flows out among targets, [`health`] says which targets are well, and [`proxy_protocol`]
//! tells targets whose connections they get. Targets are reached by a [`Dial`].

mod dial;
pub mod health;
pub mod proxy_protocol;
pub mod slots;
#[cfg(test)]
mod tests;

pub use dial::Dial;
