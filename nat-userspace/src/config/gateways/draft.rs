//! A NAT gateway while it is being checked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use ipnet::Ipv4Net;
use nat_common::map_types::MAX_PUBLIC_IPS;

use super::types::{
    AddressPorts, DEFAULT_PORT_REST, Filtering, Forward, NatGateway, NoTranslate, OnExhaustion,
    PassRule, PortRange, Profile, Protocol, Timeouts,
};
use crate::config::place::{List, Place, Read};

#[derive(Clone)]
pub struct NatGatewayDraft {
    pub place: Place,
    pub name: Read<String>,
    pub subnet: Read<String>,
    pub private_ip: Read<Ipv4Addr>,
    pub public_ips: List<Ipv4Addr>,
    pub ports: List<PortRange>,
    pub address_ports: Vec<AddressPortsDraft>,
    pub profile: Read<Profile>,
    pub filtering: Read<Filtering>,
    pub max_sessions_per_client: Read<u32>,
    pub max_ports_per_client: Read<u32>,
    pub port_rest: Read<Duration>,
    pub on_exhaustion: Read<OnExhaustion>,
    pub deterministic: Read<Ipv4Net>,
    pub no_translate: Vec<NoTranslateDraft>,
    pub forwards: Vec<ForwardDraft>,
    pub timeouts: TimeoutsDraft,
    pub shared_with_host: Read<bool>,
}

#[derive(Clone)]
pub struct AddressPortsDraft {
    pub public_ip: Read<Ipv4Addr>,
    pub ports: List<PortRange>,
}

#[derive(Clone)]
pub struct NoTranslateDraft {
    pub place: Place,
    pub destination: Read<Ipv4Net>,
    /// The inner `None`: any protocol.
    pub protocol: Read<Option<Protocol>>,
    pub ports: Read<PortRange>,
}

#[derive(Clone)]
pub struct ForwardDraft {
    pub place: Place,
    pub protocol: Read<Protocol>,
    pub port: Read<PortRange>,
    pub public_ip: Read<Ipv4Addr>,
    pub to: Read<SocketAddrV4>,
}

#[derive(Clone, Default)]
pub struct TimeoutsDraft {
    pub tcp_established: Read<Duration>,
    pub tcp_opening: Read<Duration>,
    pub tcp_closing: Read<Duration>,
    pub udp: Read<Duration>,
    pub udp_stream: Read<Duration>,
    pub icmp: Read<Duration>,
}

impl NatGatewayDraft {
    /// `None` when the file has a mistake there.
    pub fn profile(&self) -> Option<Profile> {
        known(&self.profile)
    }

    /// `None` when the file has a mistake there.
    pub fn filtering(&self) -> Option<Filtering> {
        match self.profile()? {
            Profile::Aws => Some(Filtering::AddressAndPortDependent),
            Profile::Rfc => known(&self.filtering),
        }
    }

    /// The addresses it translates to; `None` when the file has a mistake there.
    pub fn addresses(&self) -> Option<Vec<Ipv4Addr>> {
        let public = &self.public_ips;
        if !public.complete || public.items.len() > MAX_PUBLIC_IPS {
            None
        } else if public.items.is_empty() {
            Some(vec![*self.private_ip.value()?])
        } else {
            Some(public.items.iter().map(|address| address.value).collect())
        }
    }

    /// Its forwards as far as they could be read, each with its number in the file.
    pub fn forwards(&self) -> Vec<(usize, Forward)> {
        let addresses = self.addresses();
        let forwards = self.forwards.iter().enumerate();
        forwards
            .filter_map(|(number, draft)| Some((number, draft.build(addresses.as_deref())?)))
            .collect()
    }

    pub fn build(self) -> Option<NatGateway> {
        let (profile, filtering) = (self.profile()?, self.filtering()?);
        let rests = profile == Profile::Rfc && filtering == Filtering::EndpointIndependent;
        let addresses = self.addresses()?;
        Some(NatGateway {
            name: self.name.required()?,
            subnet: self.subnet.required()?,
            private_ip: self.private_ip.required()?,
            public_ips: self.public_ips.all()?,
            ports: match self.ports.place {
                Some(_) => self.ports.all()?,
                None => vec![PortRange::default()],
            },
            address_ports: self
                .address_ports
                .into_iter()
                .map(AddressPortsDraft::build)
                .collect::<Option<_>>()?,
            profile,
            filtering,
            max_sessions_per_client: self.max_sessions_per_client.optional()?,
            max_ports_per_client: match self.max_ports_per_client.optional()? {
                Some(count) => Some(u16::try_from(count).ok()?),
                None => None,
            },
            port_rest: if rests {
                self.port_rest.or(DEFAULT_PORT_REST)?
            } else {
                Duration::ZERO
            },
            on_exhaustion: self.on_exhaustion.or(OnExhaustion::default())?,
            deterministic: self.deterministic.optional()?,
            no_translate: self
                .no_translate
                .iter()
                .map(NoTranslateDraft::build)
                .collect::<Option<_>>()?,
            forwards: self
                .forwards
                .iter()
                .map(|forward| forward.build(Some(&addresses)))
                .collect::<Option<_>>()?,
            timeouts: self.timeouts.build(profile)?,
            shared_with_host: self.shared_with_host.or(false)?,
        })
    }
}

/// The value or the default; `None` when the file has a mistake there.
fn known<T: Copy + Default>(read: &Read<T>) -> Option<T> {
    match read {
        Read::Absent => Some(T::default()),
        Read::Broken => None,
        Read::Given(located) => Some(located.value),
    }
}

impl AddressPortsDraft {
    fn build(self) -> Option<AddressPorts> {
        Some(AddressPorts {
            public_ip: self.public_ip.required()?,
            ports: self.ports.all()?,
        })
    }
}

impl NoTranslateDraft {
    pub fn build(&self) -> Option<NoTranslate> {
        Some(NoTranslate {
            destination: *self.destination.value()?,
            rule: PassRule {
                protocol: known(&self.protocol)?,
                ports: match &self.ports {
                    Read::Absent => None,
                    ports => Some(*ports.value()?),
                },
            },
        })
    }
}

impl ForwardDraft {
    /// The only one of the gateway's addresses is the default.
    fn build(&self, addresses: Option<&[Ipv4Addr]>) -> Option<Forward> {
        let public_ip = match (&self.public_ip, addresses) {
            (Read::Given(address), _) => address.value,
            (Read::Absent, Some([only])) => *only,
            _ => return None,
        };
        Some(Forward {
            protocol: *self.protocol.value()?,
            ports: *self.port.value()?,
            public_ip,
            to: *self.to.value()?,
        })
    }
}

impl TimeoutsDraft {
    fn build(self, profile: Profile) -> Option<Timeouts> {
        let default = Timeouts::of(profile);
        Some(Timeouts {
            tcp_established: self.tcp_established.or(default.tcp_established)?,
            tcp_opening: self.tcp_opening.or(default.tcp_opening)?,
            tcp_closing: self.tcp_closing.or(default.tcp_closing)?,
            udp: self.udp.or(default.udp)?,
            udp_stream: self.udp_stream.or(default.udp_stream)?,
            icmp: self.icmp.or(default.icmp)?,
        })
    }
}
