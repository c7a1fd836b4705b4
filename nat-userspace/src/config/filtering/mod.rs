//! What filters packets: security groups, network ACLs, and the prefix lists that rules and routes
//! name.

pub mod types;
