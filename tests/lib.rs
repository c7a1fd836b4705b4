//! Packets, reference NAT and labs shared by the tests.
pub mod model;
pub mod netns;
pub mod packets;
pub mod pictures;
