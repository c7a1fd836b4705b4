//! Names for the numbers in the other tables.

/// Key of the names table.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NameKey {
    /// One of the constants of [`NameKey`].
    pub kind: u32,
    /// The number in the other tables.
    pub number: u32,
}

impl NameKey {
    /// A VPC.
    pub const VPC: u32 = 1;
    /// A NAT gateway.
    pub const GATEWAY: u32 = 2;
    /// An interface index.
    pub const INTERFACE: u32 = 3;
    /// A route table.
    pub const ROUTE_TABLE: u32 = 4;
    /// The node; number 0.
    pub const NODE: u32 = 5;
    /// A subnet.
    pub const SUBNET: u32 = 6;
    /// A network ACL.
    pub const ACL: u32 = 7;
    /// A security group.
    pub const GROUP: u32 = 8;
    /// A set of security groups that an instance has: their names, with commas between them.
    pub const GROUP_SET: u32 = 9;
    /// A VPC that has an internet gateway; its number and its name.
    pub const INTERNET_GATEWAY: u32 = 10;
    /// A target group: its table's number.
    pub const TARGET_GROUP: u32 = 11;
    /// Somebody whose health is checked: its address is of this number, too.
    pub const CHECKED: u32 = 12;
}

/// A name of the configuration, `vpc/name` for what belongs to one, padded with zeros.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name(pub [u8; 144]);

impl Name {
    /// Of this text; what does not fit is cut off.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 144];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// The text; empty when it is none.
    pub fn as_str(&self) -> &str {
        let end = self
            .0
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.0.len());
        core::str::from_utf8(self.0.get(..end).unwrap_or(&[])).unwrap_or("")
    }
}
