//! Proxies while they are being checked.

use super::types::{DEFAULT_PROXY_PORTS, Proxy};
use crate::config::balancing::health::HealthCheckDraft;
use crate::config::place::{List, Place, Read};

#[derive(Clone)]
pub struct ProxyDraft {
    pub place: Place,
    pub name: Read<String>,
    pub instance: Read<String>,
    pub ports: List<u16>,
    pub subnets: List<String>,
    pub fail_open: Read<bool>,
    pub health_check: Option<HealthCheckDraft>,
}

impl ProxyDraft {
    pub fn build(self) -> Option<Proxy> {
        Some(Proxy {
            name: self.name.required()?,
            instance: self.instance.required()?,
            ports: match self.ports.place {
                Some(_) => self.ports.all()?,
                None => DEFAULT_PROXY_PORTS.to_vec(),
            },
            subnets: self.subnets.all()?,
            fail_open: self.fail_open.or(false)?,
            health_check: match self.health_check {
                Some(check) => Some(check.build()?),
                None => None,
            },
        })
    }
}
