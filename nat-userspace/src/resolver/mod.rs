//! The VPC's DNS resolver, as AWS has one at the base of each VPC plus two and at 169.254.169.253: names of a
//! VPC's instances for its hosts, and everything else by way of other servers.
//!
//! [`Names`] is what is known of all VPCs' names at one moment, `reverse` reads the names of addresses,
//! `message` reads queries and writes answers, `answer` says which query gets which, `forward` asks other
//! servers, which `host_servers` finds where none are named, and [`Resolver`] does it at sockets. None of them
//! carries packets: who asks says [`crate::services::Identify`].
//!
//! *Limitations:* no cache, no DNSSEC of its own names, no validation, no IPv6 of instances.

mod answer;
mod forward;
mod host_servers;
mod message;
mod names;
mod reverse;
mod server;
#[cfg(test)]
mod tests;

pub use names::{Found, MOST_ADDRESSES, Names, TTL_SECONDS};
pub use server::{Resolver, Sockets};
