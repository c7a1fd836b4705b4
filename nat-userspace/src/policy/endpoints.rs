//! Endpoints and load balancers as entries of the tables. Each has a gateway of its own, which has the ports that
//! flows take towards targets, and counts them. `balancing.rs` has the targets.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nat_common::{
    address::{Address, Port},
    map_types::{
        self, Gateway, Instance, Listener, ListenerKey, MAX_PUBLIC_IPS, NameKey, Route, Ruleset,
        SERVICES, SERVICES_VPC, ScopedAddress, Settings,
    },
    port_pool::PortPool,
};

use super::{
    Compiler,
    filtering::GroupSets,
    gateway::{port_pool, timeouts},
    prefix,
    rules::{RemoteRule, Rule},
    too_many,
};
use crate::{
    config::{
        Config, Endpoint, EndpointKind, EndpointState, EndpointStatement, Front, GatewayEndpoint,
        InterfaceEndpoint, LoadBalancer, PortRange, Profile, Protocol, Timeouts, Vpc,
    },
    error::Result,
};

/// What the gateway of an endpoint is called; no NAT gateway's name is like that.
pub fn endpoint_name(vpc: &str, endpoint: &str) -> String {
    format!("{vpc}/endpoint:{endpoint}")
}

/// What the gateway of a load balancer is called.
pub fn load_balancer_name(vpc: &str, load_balancer: &str) -> String {
    format!("{vpc}/load-balancer:{load_balancer}")
}

/// The name of the gateway of a subnet's router.
pub fn router_name(vpc: &str, subnet: &str) -> String {
    format!("{vpc}/router:{subnet}")
}

impl Compiler<'_, '_> {
    /// The endpoints and load balancers of a VPC. `sets` are the numbers of sets of groups.
    pub(super) fn endpoints(
        &mut self,
        config: &Config,
        vpc: &Vpc,
        sets: &GroupSets<'_>,
    ) -> Result<()> {
        let number = self.number(NameKey::VPC, &vpc.name, 1);
        for balancer in &vpc.load_balancers {
            let name = load_balancer_name(&vpc.name, &balancer.name);
            let gateway = self.own_gateway(&name, balancer.private_ip.into(), 0, number)?;
            self.stand_in(number, balancer.private_ip, gateway, 0);
            self.listeners(vpc, number, balancer, gateway);
        }
        for endpoint in &vpc.endpoints {
            match &endpoint.kind {
                EndpointKind::Gateway(kind) => {
                    self.gateway_endpoint(vpc, number, endpoint, kind)?
                }
                EndpointKind::Interface(kind) => {
                    let groups = sets.get(kind.security_groups.as_slice()).copied();
                    self.interface_endpoint(config, vpc, endpoint, kind, groups.unwrap_or(0))?;
                }
            }
        }
        Ok(())
    }

    fn interface_endpoint(
        &mut self,
        config: &Config,
        vpc: &Vpc,
        endpoint: &Endpoint,
        kind: &InterfaceEndpoint,
        groups: u32,
    ) -> Result<()> {
        let number = self.number(NameKey::VPC, &vpc.name, 1);
        let name = endpoint_name(&vpc.name, &endpoint.name);
        let is_available = config.endpoint_state(vpc, endpoint) == Some(EndpointState::Available);
        let gateway = match &kind.front {
            Front::Service {
                vpc: provider,
                service,
            } => {
                let provider = config.vpcs.iter().find(|vpc| vpc.name == *provider);
                let found = provider.and_then(|provider| {
                    let mut services = provider.endpoint_services.iter();
                    let service = services.find(|each| each.name == *service)?;
                    let mut balancers = provider.load_balancers.iter();
                    let balancer = balancers.find(|each| each.name == service.load_balancer)?;
                    Some((provider, balancer))
                });
                let node = found.map_or(Address::UNSPECIFIED, |(_, balancer)| {
                    balancer.private_ip.into()
                });
                let gateway = self.own_gateway(&name, node, 0, number)?;
                if let Some((provider, balancer)) = found.filter(|_| is_available) {
                    let there = self.number(NameKey::VPC, &provider.name, 1);
                    self.listeners(provider, there, balancer, gateway);
                }
                gateway
            }
            Front::Address {
                address,
                nat_gateway,
            } => {
                let flags = Gateway::KEEPS_SOURCE;
                let own = self.own_gateway(&name, Address::UNSPECIFIED, flags, number)?;
                let carrier = match nat_gateway {
                    Some(gateway) => {
                        let name = format!("{}/{gateway}", vpc.name);
                        self.number(NameKey::GATEWAY, &name, 0)
                    }
                    None => {
                        self.tables.settings.flags |= Settings::KEEPS_SOURCES;
                        own
                    }
                };
                let key = ListenerKey {
                    gateway: own,
                    ..ListenerKey::default()
                };
                let listener = Listener {
                    gateway: carrier,
                    address: (*address).into(),
                    ..Listener::default()
                };
                self.tables.listeners.insert(key, listener);
                own
            }
        };
        for interface in &kind.interfaces {
            self.stand_in(number, interface.private_ip, gateway, groups);
        }
        Ok(())
    }

    /// What is sent to this address of a VPC goes on by a gateway.
    pub(super) fn stand_in(&mut self, vpc: u32, address: Ipv4Addr, gateway: u32, groups: u32) {
        let key = ScopedAddress {
            scope: vpc,
            address: address.into(),
        };
        let entry = Instance::endpoint(gateway, groups);
        self.tables.instances.insert(key, entry);
    }

    /// What a load balancer offers, by this gateway.
    fn listeners(&mut self, vpc: &Vpc, number: u32, balancer: &LoadBalancer, gateway: u32) {
        // Whoever asks for it, it is the load balancer that checks its targets.
        let name = load_balancer_name(&vpc.name, &balancer.name);
        let checker = self.number(NameKey::GATEWAY, &name, 0);
        for listener in &balancer.listeners {
            let mut groups = vpc.target_groups.iter();
            let Some(group) = groups.find(|group| group.name == listener.target_group) else {
                continue;
            };
            let key = ListenerKey {
                gateway,
                port: Port::new(listener.port),
                protocol: listener.protocol.number(),
                reserved: 0,
            };
            let table = self.target_table(vpc, group, checker);
            let mut entry = Listener {
                table,
                vpc: number,
                gateway,
                address: Address::UNSPECIFIED,
            };
            if group.proxy_protocol_v2 && listener.protocol == Protocol::Tcp {
                let at = self.relay(vpc, group, table, listener.port);
                entry.address = at.into();
                entry.vpc = u32::from(SERVICES_VPC);
            }
            self.tables.listeners.insert(key, entry);
        }
    }

    /// The gateway of an endpoint or load balancer, whose targets see this address.
    pub(super) fn own_gateway(
        &mut self,
        name: &str,
        node: Address,
        flags: u32,
        vpc: u32,
    ) -> Result<u32> {
        let number = self.number(NameKey::GATEWAY, name, 0);
        if number >= SERVICES {
            let what = "NAT gateways, endpoints and load balancers";
            return Err(too_many(what, number as usize + 1, SERVICES as usize));
        }
        let mut addresses = [Address::UNSPECIFIED; MAX_PUBLIC_IPS];
        let mut pools = [PortPool::default(); MAX_PUBLIC_IPS];
        addresses[0] = node;
        pools[0] = port_pool(&[PortRange::default()])?;
        let gateway = Gateway {
            secret: self.secret(number),
            addresses,
            pools,
            address_count: 1,
            timeouts: timeouts(&Timeouts::of(Profile::Aws)),
            vpc,
            flags: flags | Gateway::RESETS_UNKNOWN,
            ..Gateway::default()
        };
        self.tables.gateways.insert(number, gateway);
        Ok(number)
    }

    /// Routes lead to it as to a NAT gateway, which keeps the source.
    fn gateway_endpoint(
        &mut self,
        vpc: &Vpc,
        vpc_number: u32,
        endpoint: &Endpoint,
        kind: &GatewayEndpoint,
    ) -> Result<()> {
        self.tables.settings.flags |= Settings::KEEPS_SOURCES;
        let name = endpoint_name(&vpc.name, &endpoint.name);
        let mut flags = Gateway::KEEPS_SOURCE;
        if !kind.policy.is_empty() {
            flags |= Gateway::HAS_POLICY;
        }
        let number = self.own_gateway(&name, Address::UNSPECIFIED, flags, vpc_number)?;
        if kind.policy.is_empty() {
            return Ok(());
        }
        let table = Gateway::policy_table(number);
        let everybody = self.statements(&name, "", &kind.policy);
        self.policy_of(table, Ipv4Net::default(), everybody);
        let named = kind
            .policy
            .iter()
            .flat_map(|statement| &statement.instances);
        let mut named: Vec<&str> = named.map(String::as_str).collect();
        named.sort_unstable();
        named.dedup();
        for instance in named {
            let mut instances = vpc.instances.iter();
            let Some(listed) = instances.find(|each| each.name == instance) else {
                continue;
            };
            let ruleset = self.statements(&name, instance, &kind.policy);
            self.policy_of(table, Ipv4Net::from(listed.private_ip), ruleset);
        }
        Ok(())
    }

    fn policy_of(&mut self, table: u32, source: Ipv4Net, ruleset: u32) {
        let entry = Route::to(map_types::Target::NatGateway(ruleset));
        self.routes.push((prefix(table, source), entry));
    }

    /// The ruleset of the statements that are about an instance: those that deny come first, and what none allows
    /// is denied.
    fn statements(&mut self, endpoint: &str, instance: &str, policy: &[EndpointStatement]) -> u32 {
        let number = self.number(NameKey::ACL, &format!("{endpoint}/{instance}"), 1);
        let ruleset = Ruleset::egress_of_acl(number);
        let mut rules = Vec::new();
        for allow in [false, true] {
            for (index, statement) in (1..).zip(policy) {
                let is_about = statement.instances.is_empty()
                    || statement.instances.iter().any(|name| name == instance);
                if statement.allow != allow || !is_about {
                    continue;
                }
                let all = [Ipv4Net::default()];
                let destinations = match statement.destinations.as_slice() {
                    [] => &all,
                    some => some,
                };
                rules.extend(destinations.iter().map(|net| Rule {
                    allow,
                    id: index,
                    protocol: None,
                    ports: (0, u16::MAX),
                    remote: RemoteRule::Prefix(*net),
                }));
            }
        }
        self.rulesets.push((ruleset, rules));
        ruleset
    }
}
