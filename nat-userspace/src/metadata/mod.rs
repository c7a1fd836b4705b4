//! Instance metadata as EC2 serves it at 169.254.169.254: what an instance can ask about itself.
//!
//! [`Catalogue`] is what is known of all instances, [`Tree`] what one of them sees; [`token`] is about the
//! tokens of version 2, `http` says which request gets which answer, and [`serve`] does
//! it at a socket. None of them carries packets: whose a connection is says [`crate::services::Identify`].
//!
//! *Limitations:* no user data, no credentials, no signature of the identity document, no IPv6.

mod catalogue;
mod http;
mod server;
#[cfg(test)]
mod tests;
pub mod token;
mod tree;

#[cfg(test)]
use server::Limits;

pub use catalogue::{Catalogue, Described};
pub use server::serve;
pub use tree::Tree;
