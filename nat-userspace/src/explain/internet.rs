//! What it takes to be connected by an internet gateway. The dataplane stops at the first thing that is in the
//! way; here all of them are looked at, on the same tables, in the order in which they are mended.

use std::net::Ipv4Addr;

use nat_common::{
    flow::protocol,
    map_types::{Instance, Judgement, NameKey, PortKey, PublicUse, Route, Ruleset, Target, Trace},
    policy::Step,
    rules,
};
use serde::Serialize;

use super::{
    Asked, Origin,
    steps::{group_rule, noted},
};
use crate::{
    error::Result,
    held::{Held, HeldSubnet},
};

/// One thing it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `gateway-attached`, `route`, `public-ip`, `security-groups` or `network-acl`.
    pub condition: &'static str,
    /// It is given.
    pub holds: bool,
    /// What there is, for people.
    pub text: String,
    /// What would mend it.
    pub mend: Option<String>,
}

impl Condition {
    fn new(condition: &'static str, holds: bool, text: String, mend: String) -> Self {
        Self {
            condition,
            holds,
            text,
            mend: (!holds).then_some(mend),
        }
    }
}

/// Whose connectivity is in question.
struct Case<'a> {
    held: &'a Held<'a>,
    asked: &'a Asked,
    subnet: &'a HeldSubnet,
    /// The inside end.
    inside: Ipv4Addr,
    remote: Ipv4Addr,
    instance: Option<Instance>,
    is_outward: bool,
    /// Groups are not asked about what a live session carries.
    has_session: bool,
}

/// All of them; none where the packet does not go by an internet gateway.
pub fn conditions(
    held: &Held<'_>,
    asked: &Asked,
    origin: Origin,
    trace: &Trace,
) -> Result<Vec<Condition>> {
    let (source, destination) = (*asked.source.ip(), *asked.destination.ip());
    let find = |step: Step| noted(trace).find(|noted| noted.step == step as u32);
    let (inside, remote, subnet) = if origin.vpc.is_some() {
        let leads_elsewhere = find(Step::Route).is_none_or(|route| {
            [Route::LOCAL, Route::NAT_GATEWAY, Route::INSTANCE].contains(&route.value)
        });
        if leads_elsewhere {
            return Ok(Vec::new());
        }
        let number = find(Step::Subnet).map_or(0, |subnet| subnet.value);
        (source, destination, held.subnet(number))
    } else {
        let Some(public) = held.public_address(destination)? else {
            return Ok(Vec::new());
        };
        let PublicUse::Elastic(private) = public.purpose() else {
            return Ok(Vec::new());
        };
        let private = private.into();
        (
            private,
            source,
            held.subnet_of(public.owner() as u16, private),
        )
    };
    let Some(subnet) = subnet else {
        return Ok(Vec::new());
    };
    let instance = held.instance(subnet.vpc, inside)?;
    // Whoever has no public IP is meant to be kept from there.
    let is_kept = find(Step::Route).is_some_and(|route| route.value == Route::BLACKHOLE)
        && instance.is_none_or(|instance| instance.public.is_unspecified());
    if is_kept {
        return Ok(Vec::new());
    }
    let made = find(Step::Mapping).is_some();
    let has_session = !made && (find(Step::Session).is_some() || find(Step::Answer).is_some());
    Case {
        held,
        asked,
        subnet,
        inside,
        remote,
        instance,
        is_outward: origin.vpc.is_some(),
        has_session,
    }
    .all()
}

impl Case<'_> {
    fn all(&self) -> Result<Vec<Condition>> {
        let mut all = vec![self.gateway_attached(), self.route()?, self.public_ip()];
        all.extend(self.groups()?);
        all.push(self.acl()?);
        Ok(all)
    }

    fn gateway_attached(&self) -> Condition {
        let vpc = self.held.vpc(self.subnet.vpc);
        let holds = self.held.has_internet_gateway(self.subnet.vpc);
        let text = if holds {
            format!("VPC {vpc} has an internet gateway")
        } else {
            format!("VPC {vpc} has no internet gateway")
        };
        let mend = format!("set internet_gateway = true on VPC {vpc}");
        Condition::new("gateway-attached", holds, text, mend)
    }

    fn route(&self) -> Result<Condition> {
        let table = self.subnet.subnet.route_table;
        let route = self.held.route(table, self.remote)?;
        let name = self.held.name(NameKey::ROUTE_TABLE, table);
        let text = match &route {
            Some(route) => format!(
                "route table {name} leads {} to {}",
                route.destination,
                self.held.target(route.target)
            ),
            None => format!("route table {name} has no route to {}", self.remote),
        };
        let mend = format!(
            "add {{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }}, or a route to less, to route table {name}"
        );
        let holds = route.is_some_and(|route| route.target == Target::InternetGateway);
        Ok(Condition::new("route", holds, text, mend))
    }

    fn public_ip(&self) -> Condition {
        let public = self.instance.map(|instance| instance.public);
        let public = public.filter(|public| !public.is_unspecified());
        let inside = self.inside;
        let text = match (public, self.instance) {
            (Some(public), _) => format!("{inside} has the public IP {}", Ipv4Addr::from(public)),
            (None, Some(_)) => format!("the instance {inside} has no public IP"),
            (None, None) => format!("{inside} is no listed instance and has no public IP"),
        };
        let mend = match self.instance {
            Some(_) => format!("give the instance {inside} a public_ip"),
            None => format!("list {inside} as an instance with a public_ip"),
        };
        Condition::new("public-ip", public.is_some(), text, mend)
    }

    /// Nothing, where no groups stand.
    fn groups(&self) -> Result<Option<Condition>> {
        let set = self.instance.map_or(0, |instance| instance.groups);
        if set == 0 {
            return Ok(None);
        }
        let names = self.held.groups(set).join(", ");
        let direction = self.direction();
        if self.has_session {
            let text = format!("a live session is not asked its security groups ({names})");
            return Ok(Some(Condition::new(
                "security-groups",
                true,
                text,
                String::new(),
            )));
        }
        let ruleset = if self.is_outward {
            Ruleset::egress_of_groups(set)
        } else {
            Ruleset::ingress_of_groups(set)
        };
        let (remote, held) = (self.remote.into(), self.held.rules()?);
        let judgement =
            rules::judge_groups(&held, ruleset, remote, 0, self.asked.protocol, self.port());
        let text = if judgement.allows() {
            let (group, index) = group_rule(judgement);
            let group = self.held.name(NameKey::GROUP, group);
            format!("{direction} rule {index} of security group {group} allows it")
        } else {
            format!("no {direction} rule of security groups {names} allows it")
        };
        let mend = format!(
            "add an {direction} rule for {} to one of {names}",
            self.traffic()
        );
        let holds = judgement.allows();
        Ok(Some(Condition::new("security-groups", holds, text, mend)))
    }

    fn acl(&self) -> Result<Condition> {
        let number = self.subnet.subnet.acl;
        let subnet = self.held.name(NameKey::SUBNET, self.subnet.subnet.number);
        if number == 0 {
            let text = format!("subnet {subnet} has no network ACL");
            return Ok(Condition::new("network-acl", true, text, String::new()));
        }
        let ruleset = if self.is_outward {
            Ruleset::egress_of_acl(number)
        } else {
            Ruleset::ingress_of_acl(number)
        };
        let (remote, held) = (self.remote.into(), self.held.rules()?);
        let judgement = rules::judge_acl(&held, ruleset, remote, self.asked.protocol, self.port());
        let (name, direction) = (self.held.name(NameKey::ACL, number), self.direction());
        let verb = if judgement.allows() {
            "allows"
        } else {
            "denies"
        };
        let text = match judgement.rule() {
            0 => format!("no {direction} rule of network ACL {name} is for it"),
            rule => format!("{direction} rule {rule} of network ACL {name} {verb} it"),
        };
        let mend = acl_mend(&name, direction, &self.traffic(), judgement);
        let holds = judgement.allows();
        Ok(Condition::new("network-acl", holds, text, mend))
    }

    const fn direction(&self) -> &'static str {
        if self.is_outward { "egress" } else { "ingress" }
    }

    /// What rules look at.
    const fn port(&self) -> u16 {
        match self.asked.protocol {
            protocol::TCP | protocol::UDP => self.asked.destination.port(),
            protocol::ICMP => PortKey::icmp(8, 0),
            _ => 0,
        }
    }

    /// What a rule would have to allow.
    fn traffic(&self) -> String {
        let (number, remote) = (self.asked.protocol, self.remote);
        let preposition = if self.is_outward { "to" } else { "from" };
        match number {
            protocol::TCP | protocol::UDP => {
                let (name, port) = (protocol::name(number), self.port());
                format!("{name} port {port} {preposition} {remote}")
            }
            protocol::ICMP => format!("icmp type 8 {preposition} {remote}"),
            _ => format!("protocol {number} {preposition} {remote}"),
        }
    }
}

fn acl_mend(acl: &str, direction: &str, traffic: &str, judgement: Judgement) -> String {
    match judgement.rule() {
        0 => format!("add an {direction} rule that allows {traffic} to network ACL {acl}"),
        rule => format!(
            "add an {direction} rule with a number below {rule} that allows {traffic} to network ACL {acl}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_needs_no_mending() {
        let mend = || "do this".to_owned();
        let given = Condition::new("route", true, String::new(), mend());
        let missing = Condition::new("route", false, String::new(), mend());
        assert_eq!(given.mend, None);
        assert_eq!(missing.mend, Some(mend()));
    }

    #[test]
    fn a_rule_that_denies_has_to_be_preceded() {
        let by_rule = acl_mend("a", "egress", "tcp", Judgement::new(false, 90));
        assert!(by_rule.contains("below 90"), "{by_rule}");
        assert!(!acl_mend("a", "egress", "tcp", Judgement::DENIED).contains("below"));
    }
}
