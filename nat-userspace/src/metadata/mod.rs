//! Instance metadata as EC2 serves it at 169.254.169.254: what an instance can ask about itself.
//!
//! [`Catalogue`] is what is known of all instances, [`Tree`] what one of them sees; [`token`] is about the
//! tokens of version 2, `http` says which request gets which answer, `admission` who may ask how much, and
//! [`serve`] does it at a socket. None of them carries packets: whose a connection is says [`Identify`].
//!
//! *Limitations:* no user data, no credentials, no signature of the identity document, no IPv6.

mod admission;
mod catalogue;
mod http;
mod server;
#[cfg(test)]
mod tests;
pub mod token;
mod tree;

use std::{io, net::SocketAddrV4};

use admission::Limits;

pub use catalogue::{Catalogue, Described, Who};
pub use server::serve;
pub use tree::Tree;

/// Tells instances by their connections.
pub trait Identify: Send + Sync {
    /// Whose connection it is, by the address and port that it comes from. It is asked once for each
    /// connection, before anything is read from it. `None`: nobody's that could be told.
    ///
    /// # Errors
    ///
    /// It can't be found out now; the connection is closed.
    fn whose(&self, peer: SocketAddrV4) -> io::Result<Option<Who>>;
}
