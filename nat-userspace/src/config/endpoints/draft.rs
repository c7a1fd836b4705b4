//! Endpoints and endpoint services while they are being checked.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::types::{
    Endpoint, EndpointAcceptance, EndpointInterface, EndpointKind, EndpointService,
    EndpointStatement, Front, GatewayEndpoint, InterfaceEndpoint,
};
use crate::config::place::{List, Place, Read};

/// With the keys of both types.
#[derive(Clone)]
pub struct EndpointDraft {
    pub place: Place,
    pub name: Read<String>,
    pub kind: Read<EndpointType>,
    pub prefix_lists: List<String>,
    pub policy: Sections<StatementDraft>,
    pub service: Read<ServiceName>,
    pub address: Read<Ipv4Addr>,
    pub nat_gateway: Read<String>,
    pub interfaces: Sections<InterfaceDraft>,
    pub security_groups: List<String>,
    pub private_dns: List<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointType {
    Gateway,
    Interface,
}

/// `VPC/NAME`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    pub vpc: String,
    pub service: String,
}

/// Tables of a key that may be left out.
#[derive(Clone)]
pub struct Sections<T> {
    /// Where the key stands; `None` when it is absent.
    pub place: Option<Place>,
    pub items: Vec<T>,
    /// False when one of them is no table.
    pub complete: bool,
}

#[derive(Clone)]
pub struct StatementDraft {
    pub allow: Read<bool>,
    pub instances: List<String>,
    pub destinations: List<Ipv4Net>,
}

#[derive(Clone)]
pub struct InterfaceDraft {
    pub subnet: Read<String>,
    pub private_ip: Read<Ipv4Addr>,
}

#[derive(Clone)]
pub struct EndpointServiceDraft {
    pub place: Place,
    pub name: Read<String>,
    pub load_balancer: Read<String>,
    pub acceptance_required: Read<bool>,
    pub allowed_vpcs: List<String>,
    pub accepted: List<String>,
    pub rejected: List<String>,
}

/// Of the API alone: a file says it in the service.
#[derive(Clone)]
pub struct EndpointAcceptanceDraft {
    pub place: Place,
    pub name: Read<String>,
    pub service: Read<String>,
    pub endpoint: Read<String>,
    pub accepted: Read<bool>,
}

impl EndpointDraft {
    pub fn build(self) -> Option<Endpoint> {
        let name = self.name.clone().required()?;
        let kind = match self.kind.value()? {
            EndpointType::Gateway => EndpointKind::Gateway(GatewayEndpoint {
                prefix_lists: self.prefix_lists.all()?,
                policy: self.policy.all(StatementDraft::build)?,
            }),
            EndpointType::Interface => EndpointKind::Interface(InterfaceEndpoint {
                front: match self.service.optional()? {
                    Some(ServiceName { vpc, service }) => Front::Service { vpc, service },
                    None => Front::Address {
                        address: self.address.required()?,
                        nat_gateway: self.nat_gateway.optional()?,
                    },
                },
                interfaces: self.interfaces.all(InterfaceDraft::build)?,
                security_groups: self.security_groups.all()?,
                private_dns: self.private_dns.all()?,
            }),
        };
        Some(Endpoint { name, kind })
    }
}

impl<T> Sections<T> {
    fn all<B>(self, build: impl Fn(T) -> Option<B>) -> Option<Vec<B>> {
        let built = self.items.into_iter().map(build).collect::<Option<_>>();
        built.filter(|_| self.complete)
    }
}

impl StatementDraft {
    fn build(self) -> Option<EndpointStatement> {
        Some(EndpointStatement {
            allow: self.allow.required()?,
            instances: self.instances.all()?,
            destinations: self.destinations.all()?,
        })
    }
}

impl InterfaceDraft {
    fn build(self) -> Option<EndpointInterface> {
        Some(EndpointInterface {
            subnet: self.subnet.required()?,
            private_ip: self.private_ip.required()?,
        })
    }
}

impl EndpointServiceDraft {
    pub fn build(self) -> Option<EndpointService> {
        Some(EndpointService {
            name: self.name.required()?,
            load_balancer: self.load_balancer.required()?,
            acceptance_required: self.acceptance_required.or(true)?,
            allowed_vpcs: match self.allowed_vpcs.place {
                Some(_) => Some(self.allowed_vpcs.all()?),
                None => None,
            },
            accepted: self.accepted.all()?,
            rejected: self.rejected.all()?,
        })
    }
}

impl EndpointAcceptanceDraft {
    pub fn build(self) -> Option<EndpointAcceptance> {
        Some(EndpointAcceptance {
            name: self.name.required()?,
            service: self.service.required()?,
            endpoint: self.endpoint.required()?,
            accepted: self.accepted.required()?,
        })
    }
}
