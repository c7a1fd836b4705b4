//! What load balancers need besides the dataplane; all but its packets.
//!
//! [`slots`] shares flows out among targets, [`health`] says which targets are well, and a [`relay`] is for
//! targets that want to know whose connections they get, which [`proxy_protocol`] tells them. Targets are
//! reached by a [`Dial`].

mod copy;
mod dial;
pub mod health;
pub mod proxy_protocol;
pub mod relay;
pub mod slots;
#[cfg(test)]
mod tests;

pub use dial::Dial;
