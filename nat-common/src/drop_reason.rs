//! Why a packet was not forwarded: one list for the dataplane's counters, the CLI and the docs.

macro_rules! drop_reasons {
    ($($variant:ident = $value:literal, $name:literal, $text:literal;)*) => {
        /// Why a packet was dropped; the number is the index of its counter.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DropReason {
            $(#[doc = $text] $variant = $value,)*
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason of this number; what is none is [`DropReason::Internal`].
            #[inline(always)]
            pub const fn of_number(number: u32) -> Self {
                match number { $($value => Self::$variant,)* _ => Self::Internal }
            }

            /// The name users see and scripts match.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for people.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

drop_reasons! {
    Malformed = 0, "malformed", "The IPv4 or transport header is truncated or contradicts itself, or a checksum of an ICMP error is wrong.";
    SpoofedSource = 1, "spoofed_source", "The source address belongs to no subnet of this interface.";
    NoRoute = 2, "no_route", "The subnet's route table has no route to the destination.";
    Blackhole = 3, "blackhole", "The route to the destination is a blackhole.";
    NoPublicIp = 4, "no_public_ip", "The route leads to the internet gateway and the source has no public IP.";
    NoSession = 5, "no_session", "Nothing inside asked for this packet, or a TCP packet that is no SYN has no session.";
    PrivateDestination = 6, "private_destination", "A packet from outside is addressed to a private address of a VPC.";
    UnsupportedProtocol = 7, "unsupported_protocol", "A NAT gateway translates TCP, UDP and ICMP only.";
    UnsupportedIcmp = 8, "unsupported_icmp", "This ICMP message is not translated: only pings, their answers and errors are.";
    Fragment = 9, "fragment", "A fragment whose datagram was dropped, or that could not be held until its first fragment came.";
    TtlExpired = 10, "ttl_expired", "The time to live ran out here.";
    TooBig = 11, "too_big", "The packet is larger than the next hop's MTU.";
    NoNextHop = 12, "no_next_hop", "The host's routing table has no usable next hop.";
    PortExhausted = 13, "port_exhausted", "No port is free: with profile aws towards this destination, with profile rfc for this protocol.";
    TableFull = 14, "table_full", "The session table is full.";
    ClaimRace = 15, "claim_race", "The session was being removed in the moment this packet arrived.";
    ClientQuota = 16, "client_quota", "The inside host has as many sessions or ports as it may.";
    NotForThisHost = 17, "not_for_this_host", "A packet from outside is for somebody else, and the host forwarded nothing before the dataplane came.";
    Internal = 18, "internal", "The dataplane met a state its controller should never write.";
    SecurityGroup = 19, "security_group", "No rule of the instance's security groups allows the flow.";
    NetworkAcl = 20, "network_acl", "The subnet's network ACL denies the packet.";
    UnlistedSource = 21, "unlisted_source", "The VPC is strict, and the source is no listed instance.";
    PolicyChanged = 22, "policy_changed", "The session was made under another policy, by which its packets went elsewhere.";
    SourceDestCheck = 23, "source_dest_check", "The route leads to an instance that takes only packets to its own address.";
    NoListener = 24, "no_listener", "The endpoint or load balancer offers nothing at this port, or is not available.";
    NoTarget = 25, "no_target", "No target of the load balancer takes new flows, or the proxy is down and nothing gets around it.";
    EndpointPolicy = 26, "endpoint_policy", "The policy of the gateway endpoint does not allow this instance to go there.";
}

/// How many reasons there are: the size of the counter array.
pub const COUNT: u32 = DropReason::ALL.len() as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(DropReason::of_number(index as u32), *reason);
            assert_eq!(
                DropReason::ALL
                    .iter()
                    .filter(|other| other.name() == reason.name())
                    .count(),
                1
            );
        }
    }
}
