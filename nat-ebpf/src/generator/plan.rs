//! What the bench tells the generator and the sink. Included by the bench (tests/benches/speed/) by path,
//! so that both sides have one definition. Numbers are in host order.

/// Which packets to send, and which to expect at the other end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Of the first flow. A flow is an address of `addresses` and a port of `ports`.
    pub source: u32,
    pub destination: u32,
    pub source_port: u32,
    pub destination_port: u32,
    /// By how much each differs from one address, or one port, to the next: 0 or 1.
    pub source_step: u32,
    pub destination_step: u32,
    pub source_port_step: u32,
    pub destination_port_step: u32,
    /// There are `addresses` times `ports` flows.
    pub addresses: u32,
    pub ports: u32,
    /// Not 0: one flow after the other, from [`Position`] on; otherwise at random.
    pub in_order: u32,
    /// The sink counts packets whose source and destination are these under the masks.
    pub expected_source: u32,
    pub expected_source_mask: u32,
    pub expected_destination: u32,
    pub expected_destination_mask: u32,
    pub to: [u8; 6],
    pub from: [u8; 6],
}

/// Where a CPU is in the plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    pub random: u64,
    pub address: u32,
    pub port: u32,
}

/// What a CPU's sink has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub expected: u64,
    pub others: u64,
}

/// The start of a frame, which is put back before every run of a program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub words: [u64; TEMPLATE_WORDS],
}

pub const TEMPLATE_WORDS: usize = 12;
