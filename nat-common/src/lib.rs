//! Types and pure logic shared by the dataplane, the controller and the tests.
//!
//! Nothing here does I/O or knows the time: packets come through [`packet::Packet`], the clock and
//! randomness are arguments. The dataplane's stages in `nat-ebpf` call these modules in the order
//! [`parse`] -> [`policy`] -> [`port_pool`] -> [`translate`]; the controller shares [`map_types`]
//! and [`lifecycle`] with them.
//!
//! # Limitations
//!
//! IPv4 only.
#![cfg_attr(not(test), no_std)]

pub mod address;
pub mod checksum;
pub mod claim;
pub mod clock;
pub mod cut;
pub mod deterministic;
pub mod drop_reason;
pub mod flow;
pub mod flow_cache;
pub mod icmp_error;
pub mod lifecycle;
pub mod map_types;
pub mod packet;
pub mod parse;
pub mod policy;
pub mod port_pool;
pub mod port_search;
pub mod reply;
pub mod rules;
pub mod session_table;
pub mod sessions;
pub mod shared;
pub mod tables;
pub mod taken_ports;
pub mod tcp_state;
pub mod translate;
pub mod wire;
