//! Packets, reference NAT and labs shared by the tests.
pub mod packets;
pub mod model;
pub mod netns;
