//! What the pipeline decided. The table that carries it out is in `main.rs`; a packet that ends here
//! is a [`nat_common::drop_reason::DropReason`] instead.

/// What happens to a packet that is not dropped.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// It is the host's, unchanged.
    Pass,
    /// It is unchanged, and the TC program of the same interface does what XDP can't.
    HandUp,
    /// It was turned into an answer and goes back where it came from.
    Answer,
    /// It is decided what becomes of it: the program that sends it on does the rest.
    Send,
    /// It was translated and goes to the next hop that the pipeline wrote down.
    Forward,
    /// An ICMP error: the program for those goes on.
    Error,
    /// A fragment: the program for those goes on.
    Fragment,
    /// The policy has to be asked; then it comes in once more.
    Policy,
    /// A session has to be made for it; then it comes in once more.
    Claim,
    /// The policy was changed while it was under way: it is decided about anew.
    Again,
    /// It was turned into the answer to a ping, and goes back where it came from.
    Pong,
    /// It is too big for its next hop, and may be fragmented: the program for those goes on.
    Cut,
    /// Its content goes on in another packet: a fragment that waits, or that was sent in once more.
    Consumed,
}
