//! Why the reference NAT drops a packet.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet is dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in snake case, as counters have it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// A header lies or is cut.
    Malformed = "malformed",
    /// The source is not in a subnet of the interface.
    SpoofedSource = "spoofed_source",
    /// No route matches the destination.
    NoRoute = "no_route",
    /// The route says so.
    Blackhole = "blackhole",
    /// Routed to the internet gateway, but the source has no elastic IP.
    NoPublicIp = "no_public_ip",
    /// A packet that belongs to no session and may not open one.
    NoSession = "no_session",
    /// A protocol that the NAT gateway does not translate.
    UnsupportedProtocol = "unsupported_protocol",
    /// An ICMP type that the NAT gateway does not translate.
    UnsupportedIcmp = "unsupported_icmp",
    /// A fragment whose first one was dropped, or that cannot wait for it.
    Fragment = "fragment",
    /// A private address of the VPC, asked for from the internet.
    PrivateDestination = "private_destination",
    /// The time to live ends here.
    TtlExpired = "ttl_expired",
    /// The host's routes do not lead there.
    NoNextHop = "no_next_hop",
    /// Longer than what the next hop takes.
    TooBig = "too_big",
    /// The inside host has as many sessions or ports as it may.
    ClientQuota = "client_quota",
    /// Every port of the gateway is in use towards this destination.
    PortExhausted = "port_exhausted",
    /// No security group allows the flow.
    SecurityGroup = "security_group",
    /// A subnet's ACL refuses the packet.
    NetworkAcl = "network_acl",
    /// The source is no instance of a strict VPC.
    UnlistedSource = "unlisted_source",
    /// The policy now leads the packets of a session elsewhere.
    PolicyChanged = "policy_changed",
    /// Routed to an instance that gets only what is addressed to it.
    SourceDestCheck = "source_dest_check",
}

impl DropReason {
    /// The reason called `name`; `None` for reasons the model does not know, like
    /// a full table or a missing next hop.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }
}
