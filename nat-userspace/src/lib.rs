//! Controller and command line of the dataplane. The binary `nat` is a thin `main` around [`cli`].
//!
//! [`config`] is parsed into plain data, [`policy`] compiles it into map entries, [`reconcile`]
//! writes them, [`loader`] and [`attach`] put the programs in place, [`overlap`] sees that inside and
//! outside do not meet. [`expiry`] ends idle sessions and those that [`stale`] finds to have no place
//! under a new policy, [`leftovers`] what removals have left.
//! [`desired`] is what is wanted of a running controller, which [`api`] changes; [`foresight`] says what
//! a change would do to the sessions.
//! [`held`] is the policy as the dataplane has it, for [`routes`], [`instances`] and [`explain`].
//! [`services`] is where the node's own services listen.
//! [`placement`] says which instances may be where, [`metadata`] tells them about themselves, [`resolver`]
//! answers their questions about names; no packet depends on any of them.
//! [`balancer`] is what network load balancers need besides the dataplane.
//! Reading commands go through [`pins`] and work without a controller.

mod admission;
pub mod api;
pub mod attach;
pub mod balancer;
pub mod bpf_batch;
pub mod bpf_syscall;
pub mod cli;
pub mod config;
pub mod controller;
pub mod desired;
pub mod doctor;
pub mod endpoints;
pub mod error;
pub mod expiry;
pub mod explain;
pub mod flow_cache;
pub mod foresight;
pub mod generation;
pub mod health;
pub mod held;
mod hex;
pub mod host;
pub mod instances;
pub mod leftovers;
pub mod loader;
pub mod lookup;
pub mod maps;
pub mod metadata;
pub mod metrics;
pub mod nat_instance;
pub mod overlap;
mod pace;
pub mod pins;
pub mod placement;
pub mod policy;
pub mod ports;
pub mod qdisc;
pub mod reconcile;
pub mod relays;
pub mod resolver;
pub mod routes;
pub mod services;
pub mod session_table;
pub mod sessions;
pub mod stale;
pub mod status;
