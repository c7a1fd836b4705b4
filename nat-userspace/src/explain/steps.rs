//! The steps of a decision in words.

use std::net::Ipv4Addr;

use nat_common::{
    address::Address,
    map_types::{Judgement, NameKey, Route, Ruleset, SERVICES, Trace, TracedStep},
    policy::Step,
    sessions::is_tracker,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::Asked;
use crate::{
    endpoints::Owner,
    error::Result,
    held::{Held, HeldRoute, why_nowhere},
};

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// What kind: `subnet`, `instance`, `route`, `network-acl`, `security-groups`, `nat-gateway`,
    /// `endpoint-policy`, `services`, `gateway-subnet`, `receiver-subnet`, `public-ip`, `endpoint`, `target`,
    /// `proxy`, `session`, `mapping` or `next-hop`.
    pub step: &'static str,
    /// It, for people.
    pub text: String,
    /// Its particulars.
    #[serde(flatten)]
    pub details: Value,
}

impl StepRecord {
    const fn new(step: &'static str, text: String, details: Value) -> Self {
        Self {
            step,
            text,
            details,
        }
    }
}

/// The steps that were noted down.
pub fn noted(trace: &Trace) -> impl Iterator<Item = &TracedStep> {
    trace.steps.iter().take(trace.count as usize)
}

/// An address as steps have it.
pub fn address(raw: u32) -> Ipv4Addr {
    Address::from_raw(raw).into()
}

/// An address and port as steps have them.
pub fn end(noted: &TracedStep) -> (Ipv4Addr, u16) {
    (address(noted.value), noted.detail as u16)
}

const ALL: &[Step] = &[
    Step::Subnet,
    Step::Instance,
    Step::Route,
    Step::Acl,
    Step::Groups,
    Step::Gateway,
    Step::ReceiverSubnet,
    Step::Session,
    Step::PublicIp,
    Step::Mapping,
    Step::NextHop,
    Step::Answer,
    Step::GatewaySubnet,
    Step::Endpoint,
    Step::Target,
    Step::Diversion,
];

/// What comes after what.
struct Teller<'a> {
    held: &'a Held<'a>,
    asked: &'a Asked,
    /// The sender's route table.
    table: u32,
    /// The session that would be made: the note about it.
    made: Option<TracedStep>,
}

/// Puts them into words.
pub fn in_words(held: &Held<'_>, asked: &Asked, trace: &Trace) -> Result<Vec<StepRecord>> {
    let mut teller = Teller {
        held,
        asked,
        table: 0,
        made: None,
    };
    let mut records = Vec::new();
    for noted in noted(trace) {
        if let Some(step) = ALL.iter().find(|step| **step as u32 == noted.step) {
            records.extend(teller.tell(*step, noted)?);
        }
    }
    Ok(records)
}

impl Teller<'_> {
    fn tell(&mut self, step: Step, noted: &TracedStep) -> Result<Option<StepRecord>> {
        let TracedStep { value, detail, .. } = *noted;
        Ok(Some(match step {
            Step::Subnet => {
                self.table = detail;
                self.subnet(value)
            }
            Step::Instance => self.instance(address(value), detail),
            Step::Route => self.route(value, detail)?,
            Step::Acl => self.acl(value, Judgement(detail)),
            Step::Groups => self.groups(value, Judgement(detail)),
            Step::Gateway if value == SERVICES => {
                let text = "one of the node's own services is asked: no route, ACL or group counts";
                StepRecord::new("services", text.to_owned(), json!({}))
            }
            Step::Gateway => {
                let name = self.held.gateway(value);
                let text = format!("{} is asked", in_words_of(&name));
                match Owner::of(&name) {
                    Owner::Endpoint(_) => {
                        StepRecord::new("endpoint", text, json!({ "endpoint": name }))
                    }
                    _ => StepRecord::new("nat-gateway", text, json!({ "gateway": name })),
                }
            }
            Step::GatewaySubnet => self.gateway_subnet(value)?,
            Step::Endpoint => {
                let name = self.held.gateway(value);
                let text = format!("{} offers something at this port", in_words_of(&name));
                StepRecord::new("endpoint", text, json!({ "endpoint": name }))
            }
            Step::Target => {
                let (target, port) = end(noted);
                let text = format!("it goes to the target {target}, port {port}");
                StepRecord::new("target", text, json!({ "target": target, "port": port }))
            }
            Step::Diversion => {
                let (proxy, is_down) = (address(value), detail != 0);
                let state = if is_down { ", which is down" } else { " first" };
                let text = format!("its subnet sends this port to the proxy {proxy}{state}");
                let details = json!({ "private_ip": proxy, "is_down": is_down });
                StepRecord::new("proxy", text, details)
            }
            Step::ReceiverSubnet => {
                let subnet = self.held.name(NameKey::SUBNET, value);
                let interface = self.held.interface(detail);
                let text = format!("the receiver is in subnet {subnet}, behind {interface}");
                let details = json!({ "subnet": subnet, "interface": interface });
                StepRecord::new("receiver-subnet", text, details)
            }
            Step::PublicIp => {
                let (public, private) = (address(value), address(detail));
                let text = format!("the public IP of {private} is {public}");
                let details = json!({ "public_ip": public, "private_ip": private });
                StepRecord::new("public-ip", text, details)
            }
            Step::Mapping => {
                self.made = Some(*noted);
                self.mapping(noted)
            }
            Step::Session | Step::Answer if self.is_made(step, noted) => return Ok(None),
            Step::Session => self.session(noted),
            Step::Answer => {
                let (to, port) = end(noted);
                let text = format!("a live session has it as an answer to {to}, port {port}");
                let details = json!({ "address": to, "port": port, "is_answer": true });
                StepRecord::new("session", text, details)
            }
            Step::NextHop => {
                let (interface, hop) = (self.held.interface(value), address(detail));
                let text = format!("the next hop is {hop} by {interface}");
                let details = json!({ "interface": interface, "next_hop": hop });
                StepRecord::new("next-hop", text, details)
            }
            Step::Source | Step::Destination => return Ok(None),
        }))
    }

    /// It is the session that would be made, seen by the program that sends the packet on.
    fn is_made(&self, step: Step, noted: &TracedStep) -> bool {
        let Some(made) = self.made else {
            return false;
        };
        match step {
            Step::Session => made.value == noted.value && made.detail == noted.detail,
            // It would be let in to the address that it was sent to.
            _ => address(made.value) == *self.asked.destination.ip(),
        }
    }

    fn subnet(&self, number: u32) -> StepRecord {
        let (held, table) = (self.held, self.held.name(NameKey::ROUTE_TABLE, self.table));
        let subnet = held.name(NameKey::SUBNET, number);
        let vpc = held.subnet(number).map(|each| held.vpc(each.vpc));
        let vpc = vpc.unwrap_or_default();
        let text = format!("from subnet {subnet} of VPC {vpc}, which has route table {table}");
        let details = json!({ "vpc": vpc, "subnet": subnet, "route_table": table });
        StepRecord::new("subnet", text, details)
    }

    fn instance(&self, private: Ipv4Addr, set: u32) -> StepRecord {
        let groups = self.held.groups(set);
        let text = if groups.is_empty() {
            format!("the sender is the listed instance {private}, which is not filtered")
        } else {
            let groups = groups.join(", ");
            format!("the sender is the listed instance {private} with security groups {groups}")
        };
        let details = json!({ "private_ip": private, "security_groups": groups });
        StepRecord::new("instance", text, details)
    }

    fn route(&self, kind: u32, value: u32) -> Result<StepRecord> {
        let (held, to) = (self.held, *self.asked.destination.ip());
        let table = held.name(NameKey::ROUTE_TABLE, self.table);
        if kind == Route::NONE.kind() {
            let text = format!("route table {table} has no route to {to}");
            return Ok(StepRecord::new(
                "route",
                text,
                json!({ "route_table": table }),
            ));
        }
        let found = held.route(self.table, to)?;
        debug_assert!(found.is_none_or(|route| Route::to(route.target).value() == value));
        Ok(StepRecord::new(
            "route",
            match &found {
                Some(route) => format!("route table {table}: {}", self.in_table(route)),
                None => format!("route table {table} was changed in this moment"),
            },
            route_details(held, &table, found.as_ref()),
        ))
    }

    fn in_table(&self, route: &HeldRoute) -> String {
        let target = self.held.target(route.target);
        let why = why_nowhere(route.target).map(|why| format!(" ({why})"));
        format!(
            "{} leads to {target}{}",
            route.destination,
            why.unwrap_or_default()
        )
    }

    fn gateway_subnet(&self, number: u32) -> Result<StepRecord> {
        let held = self.held;
        let subnet = held.name(NameKey::SUBNET, number);
        let table = held
            .subnet(number)
            .map_or(0, |each| each.subnet.route_table);
        let table_name = held.name(NameKey::ROUTE_TABLE, table);
        let found = held.route(table, *self.asked.destination.ip())?;
        let route = match &found {
            Some(route) => self.in_table(route),
            None => format!("no route to {}", self.asked.destination.ip()),
        };
        let text = format!("the gateway is in subnet {subnet}, route table {table_name}: {route}");
        let mut details = route_details(held, &table_name, found.as_ref());
        details["subnet"] = json!(subnet);
        Ok(StepRecord::new("gateway-subnet", text, details))
    }

    fn acl(&self, ruleset: u32, judgement: Judgement) -> StepRecord {
        let (number, direction) = ruleset_of(ruleset);
        if let Owner::Endpoint(policy) = Owner::of(&self.held.names.get(NameKey::ACL, number)) {
            return endpoint_policy(policy, judgement);
        }
        let acl = self.held.name(NameKey::ACL, number);
        let (rule, verb) = (judgement.rule(), verb(judgement));
        let text = match rule {
            0 => format!("network ACL {acl}, {direction}: no rule is for it, which denies it"),
            _ => format!("network ACL {acl}, {direction}: rule {rule} {verb} it"),
        };
        let details = json!({
            "network_acl": acl,
            "direction": direction,
            "rule": (rule != 0).then_some(rule),
            "allowed": judgement.allows(),
        });
        StepRecord::new("network-acl", text, details)
    }

    fn groups(&self, ruleset: u32, judgement: Judgement) -> StepRecord {
        let (set, direction) = ruleset_of(ruleset);
        let groups = self.held.groups(set);
        let by = judgement.allows().then(|| {
            let (group, index) = group_rule(judgement);
            (self.held.name(NameKey::GROUP, group), index)
        });
        let text = match &by {
            Some((group, index)) => {
                format!("security group {group}, {direction}: rule {index} allows it")
            }
            None => {
                let groups = groups.join(", ");
                format!("security groups {groups}, {direction}: no rule allows it")
            }
        };
        let details = json!({
            "security_groups": groups,
            "direction": direction,
            "security_group": by.as_ref().map(|(group, _)| group),
            "rule": by.as_ref().map(|(_, index)| index),
            "allowed": judgement.allows(),
        });
        StepRecord::new("security-groups", text, details)
    }

    fn session(&self, noted: &TracedStep) -> StepRecord {
        let text = format!("a live session carries it, {}", self.gets(noted));
        StepRecord::new("session", text, self.mapped(noted))
    }

    fn mapping(&self, noted: &TracedStep) -> StepRecord {
        let text = format!("a session would be made, {}", self.gets(noted));
        StepRecord::new("mapping", text, self.mapped(noted))
    }

    fn gets(&self, noted: &TracedStep) -> String {
        let (public, port) = end(noted);
        let gateway = noted.detail >> 16;
        if !is_tracker(gateway as u16) {
            if gateway == SERVICES {
                return format!("which the service knows as {public}, port {port}");
            }
            let gateway = in_words_of(&self.held.gateway(gateway));
            return format!("which has {public}, port {port} of {gateway}");
        }
        if public == *self.asked.source.ip() {
            "for security groups to know its answers by".to_owned()
        } else {
            format!("as {public}, for security groups to know its answers by")
        }
    }

    fn mapped(&self, noted: &TracedStep) -> Value {
        let (public, port) = end(noted);
        let gateway = noted.detail >> 16;
        let name = (!is_tracker(gateway as u16)).then(|| self.held.gateway(gateway));
        json!({ "address": public, "port": port, "gateway": name })
    }
}

/// What has a gateway of this name.
fn in_words_of(name: &str) -> String {
    match Owner::of(name) {
        Owner::NatGateway(_) => format!("NAT gateway {name}"),
        Owner::Endpoint(endpoint) => format!("endpoint {endpoint}"),
        Owner::LoadBalancer(balancer) => format!("load balancer {balancer}"),
        Owner::Router(subnet) => format!("the router of subnet {subnet}"),
    }
}

/// What a rule does.
const fn verb(judgement: Judgement) -> &'static str {
    if judgement.allows() {
        "allows"
    } else {
        "denies"
    }
}

/// What the policy of a gateway endpoint says; its ruleset has the name of the endpoint, and of the instance that it
/// is about.
fn endpoint_policy(name: &str, judgement: Judgement) -> StepRecord {
    let endpoint = name.split_once('/').map_or(name, |(endpoint, _)| endpoint);
    let (rule, verb) = (judgement.rule(), verb(judgement));
    let text = match rule {
        0 => format!("policy of endpoint {endpoint}: no statement is for it, which denies it"),
        _ => format!("policy of endpoint {endpoint}: statement {rule} {verb} it"),
    };
    let details = json!({
        "endpoint": endpoint,
        "statement": (rule != 0).then_some(rule),
        "allowed": judgement.allows(),
    });
    StepRecord::new("endpoint-policy", text, details)
}

fn route_details(held: &Held<'_>, table: &str, route: Option<&HeldRoute>) -> Value {
    json!({
        "route_table": table,
        "destination": route.map(|route| route.destination.to_string()),
        "target": route.map(|route| held.target(route.target)),
        "reason": route.and_then(|route| why_nowhere(route.target)),
    })
}

/// The number of an ACL or a set of groups, and the direction.
pub fn ruleset_of(ruleset: u32) -> (u32, &'static str) {
    let number = ruleset % (2 * Ruleset::NUMBERS) / 2;
    let direction = if ruleset & 1 == 0 {
        "ingress"
    } else {
        "egress"
    };
    (number, direction)
}

/// The group's number, and which of its rules decided, from 0.
pub const fn group_rule(judgement: Judgement) -> (u32, u32) {
    use crate::policy::RULE_BITS;
    let rule = judgement.rule();
    (rule >> RULE_BITS, rule & ((1 << RULE_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rules_are_taken_apart() {
        assert_eq!(ruleset_of(Ruleset::ingress_of_acl(7)), (7, "ingress"));
        assert_eq!(ruleset_of(Ruleset::egress_of_acl(7)), (7, "egress"));
        assert_eq!(ruleset_of(Ruleset::egress_of_groups(3)), (3, "egress"));
        assert_eq!(group_rule(Judgement::new(true, 5 << 10 | 9)), (5, 9));
    }

    #[test]
    fn ends_are_read_as_they_are_noted() {
        let noted = TracedStep {
            step: Step::Session as u32,
            value: Address::from(Ipv4Addr::new(198, 51, 100, 10)).raw(),
            detail: 40_001 | 3 << 16,
        };
        assert_eq!(end(&noted), (Ipv4Addr::new(198, 51, 100, 10), 40_001));
    }
}
