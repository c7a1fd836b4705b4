//! One object in its place among the others of the draft. In every list the file's come first, then the
//! API's by name, so that how they came there makes no difference. `follow` does the same to the finished
//! configuration.

use std::mem;

use super::{
    Kind, ObjectKey,
    parts::{Listed, Part},
};
use crate::config::{
    balancing::{LoadBalancerDraft, TargetGroupDraft},
    draft::{Draft, InstanceDraft, RouteTableDraft, SubnetDraft, VpcDraft},
    endpoints::{EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft},
    filtering::{NetworkAclDraft, PrefixListDraft, SecurityGroupDraft},
    gateways::NatGatewayDraft,
    place::{Read, Report},
    placement::{HostDraft, PlacementGroupDraft, RackDraft},
    proxies::ProxyDraft,
    suggest::quoted,
    types::{Destination, Target},
};

/// What happened to a list of a VPC, or to the list of VPCs.
pub struct Step {
    pub vpc: usize,
    pub kind: Kind,
    pub edit: Edit,
}

#[derive(Clone, Copy)]
pub enum Edit {
    Insert(usize),
    Replace(usize),
    Remove(usize),
}

/// Puts `new` where the object of this name is or belongs, or takes it away; what was there, and what
/// was done. Doing it again with what was there undoes it.
pub fn exchange(
    draft: &mut Draft,
    key: &ObjectKey,
    new: Option<Part>,
    report: &mut Report<'_>,
) -> (Option<Part>, Vec<Step>) {
    if key.kind == Kind::Vpc {
        return exchange_vpc(draft, key, new);
    }
    let named = |vpc: &VpcDraft| vpc.name.value() == Some(&key.vpc);
    let Some(number) = draft.vpcs.iter().position(named) else {
        report.error(
            &key.place(),
            format!("there is no VPC {}", quoted(&key.vpc)),
            "put the VPC first, or name another",
        );
        return (None, Vec::new());
    };
    let Some(vpc) = draft.vpcs.get_mut(number) else {
        return (None, Vec::new());
    };
    let (old, edits) = match key.kind {
        Kind::Vpc => (None, Vec::new()),
        Kind::Route => return exchange_route(number, vpc, key, new, report),
        Kind::RouteTable => exchange_table(vpc, key, new),
        Kind::Subnet => exchange_listed::<SubnetDraft>(vpc, key, new),
        Kind::NatGateway => exchange_listed::<NatGatewayDraft>(vpc, key, new),
        Kind::Instance => exchange_listed::<InstanceDraft>(vpc, key, new),
        Kind::PrefixList => exchange_listed::<PrefixListDraft>(vpc, key, new),
        Kind::SecurityGroup => exchange_listed::<SecurityGroupDraft>(vpc, key, new),
        Kind::NetworkAcl => exchange_listed::<NetworkAclDraft>(vpc, key, new),
        Kind::Rack => exchange_listed::<RackDraft>(vpc, key, new),
        Kind::Host => exchange_listed::<HostDraft>(vpc, key, new),
        Kind::PlacementGroup => exchange_listed::<PlacementGroupDraft>(vpc, key, new),
        Kind::TargetGroup => exchange_listed::<TargetGroupDraft>(vpc, key, new),
        Kind::LoadBalancer => exchange_listed::<LoadBalancerDraft>(vpc, key, new),
        Kind::EndpointService => exchange_listed::<EndpointServiceDraft>(vpc, key, new),
        Kind::EndpointAcceptance => exchange_listed::<EndpointAcceptanceDraft>(vpc, key, new),
        Kind::Endpoint => exchange_listed::<EndpointDraft>(vpc, key, new),
        Kind::Proxy => exchange_listed::<ProxyDraft>(vpc, key, new),
    };
    let step = |edit| Step {
        vpc: number,
        kind: key.kind,
        edit,
    };
    (old, edits.into_iter().map(step).collect())
}

/// Where the API's object of this name is, or would go.
fn find<T>(list: &[T], name: &str, api: impl Fn(&T) -> Option<&str>) -> Result<usize, usize> {
    let first = list.partition_point(|item| api(item).is_none());
    let of_api = list.get(first..).unwrap_or_default();
    let found = of_api.binary_search_by(|item| api(item).cmp(&Some(name)));
    found.map(|at| first + at).map_err(|at| first + at)
}

fn api_name(name: &Read<String>) -> Option<&str> {
    let name = name.given().filter(|name| name.place.is_api());
    name.map(|name| name.value.as_str())
}

fn exchange_in<T>(
    list: &mut Vec<T>,
    found: Result<usize, usize>,
    new: Option<T>,
) -> (Option<T>, Option<Edit>) {
    match (found, new) {
        (Ok(at), Some(new)) => {
            let old = list.get_mut(at).map(|there| mem::replace(there, new));
            (old, Some(Edit::Replace(at)))
        }
        (Ok(at), None) => (Some(list.remove(at)), Some(Edit::Remove(at))),
        (Err(at), Some(new)) => {
            list.insert(at, new);
            (None, Some(Edit::Insert(at)))
        }
        (Err(_), None) => (None, None),
    }
}

fn exchange_listed<T: Listed>(
    vpc: &mut VpcDraft,
    key: &ObjectKey,
    new: Option<Part>,
) -> (Option<Part>, Vec<Edit>) {
    let list = T::list(vpc);
    let found = find(list, &key.name, |item| api_name(item.name()));
    let (old, edit) = exchange_in(list, found, new.and_then(T::of));
    (old.map(T::part), edit.into_iter().collect())
}

/// Routes of the API stay in the table.
fn exchange_table(
    vpc: &mut VpcDraft,
    key: &ObjectKey,
    new: Option<Part>,
) -> (Option<Part>, Vec<Edit>) {
    let (mut old, edits) = exchange_listed::<RouteTableDraft>(vpc, key, new);
    if let (Some(Part::RouteTable(old)), [Edit::Replace(at)]) = (&mut old, edits.as_slice())
        && let Some(new) = vpc.route_tables.get_mut(*at)
    {
        let written = old.routes.partition_point(|route| route.object.is_none());
        new.routes.extend(old.routes.split_off(written));
    }
    (old, edits)
}

fn exchange_vpc(
    draft: &mut Draft,
    key: &ObjectKey,
    new: Option<Part>,
) -> (Option<Part>, Vec<Step>) {
    let found = find(&draft.vpcs, &key.name, |vpc| api_name(&vpc.name));
    let new = new.and_then(|part| match part {
        Part::Vpc(vpc) => Some(*vpc),
        _ => None,
    });
    let (mut old, edit) = exchange_in(&mut draft.vpcs, found, new);
    // What is in it stays.
    if let (Some(old), Some(Edit::Replace(at))) = (&mut old, edit)
        && let Some(there) = draft.vpcs.get_mut(at)
    {
        mem::swap(old, there);
        let VpcDraft {
            name,
            cidrs,
            internet_gateway,
            strict,
            dns,
            private_domain,
            subnets: _,
            route_tables: _,
            nat_gateways: _,
            instances: _,
            prefix_lists: _,
            security_groups: _,
            network_acls: _,
            racks: _,
            hosts: _,
            placement_groups: _,
            target_groups: _,
            load_balancers: _,
            endpoint_services: _,
            endpoint_acceptances: _,
            endpoints: _,
            proxies: _,
            gone: _,
        } = there;
        mem::swap(name, &mut old.name);
        mem::swap(cidrs, &mut old.cidrs);
        mem::swap(internet_gateway, &mut old.internet_gateway);
        mem::swap(strict, &mut old.strict);
        mem::swap(dns, &mut old.dns);
        mem::swap(private_domain, &mut old.private_domain);
    }
    let step = edit.map(|edit| Step {
        vpc: 0,
        kind: Kind::Vpc,
        edit,
    });
    let old = old.map(|old| Part::Vpc(Box::new(old)));
    (old, step.into_iter().collect())
}

fn exchange_route(
    number: usize,
    vpc: &mut VpcDraft,
    key: &ObjectKey,
    new: Option<Part>,
    report: &mut Report<'_>,
) -> (Option<Part>, Vec<Step>) {
    let mut steps = Vec::new();
    let mut changed = |at| steps.push(table_step(number, at));
    let (mut old, mut destination) = (None, None);
    if let Some(Part::Route(name, route)) = new {
        let named = |table: &RouteTableDraft| table.name.value() == Some(&name);
        match vpc.route_tables.iter().position(named) {
            Some(at) => destination = Some((at, route)),
            None => {
                report.error(
                    &key.place().child("route_table"),
                    format!("there is no route table {}", quoted(&name)),
                    "put the table first, or name another",
                );
                return (None, steps);
            }
        }
    }
    for (at, table) in vpc.route_tables.iter_mut().enumerate() {
        if let Ok(place) = find(&table.routes, &key.name, |route| route.object.as_deref()) {
            let name = table.name.value().cloned().unwrap_or_default();
            old = Some(Part::Route(name, table.routes.remove(place)));
            changed(at);
        }
    }
    if let Some((at, route)) = destination
        && let Some(table) = vpc.route_tables.get_mut(at)
    {
        let found = find(&table.routes, &key.name, |route| route.object.as_deref());
        exchange_in(&mut table.routes, found, Some(route));
        changed(at);
    }
    (old, steps)
}

const fn table_step(vpc: usize, at: usize) -> Step {
    Step {
        vpc,
        kind: Kind::RouteTable,
        edit: Edit::Replace(at),
    }
}

/// The tables of a VPC with a route to `target`.
pub fn tables_to<'a>(
    draft: &'a Draft,
    vpc: &str,
    target: &Target,
) -> Vec<(Step, &'a RouteTableDraft)> {
    let vpcs = draft.vpcs.iter().enumerate();
    let tables = vpcs
        .filter(|(_, each)| each.name.value().is_some_and(|name| name == vpc))
        .flat_map(|(number, vpc)| {
            vpc.route_tables
                .iter()
                .enumerate()
                .map(move |each| (number, each))
        });
    tables
        .filter(|(_, (_, table))| leads_to(table, target))
        .map(|(number, (at, table))| (table_step(number, at), table))
        .collect()
}

/// A route of the table has this target.
pub fn leads_to(table: &RouteTableDraft, target: &Target) -> bool {
    let mut routes = table.routes.iter();
    routes.any(|route| route.target.value() == Some(target))
}

/// A route of the table leads to an endpoint.
pub fn leads_to_endpoint(table: &RouteTableDraft) -> bool {
    let mut targets = table.routes.iter().filter_map(|route| route.target.value());
    targets.any(|target| matches!(target, Target::Endpoint(_)))
}

/// A route of the table goes to what is in this prefix list.
pub fn names_list(table: &RouteTableDraft, list: &str) -> bool {
    let mut destinations = table
        .routes
        .iter()
        .filter_map(|route| route.destination.value());
    destinations
        .any(|destination| matches!(destination, Destination::PrefixList(name) if name == list))
}
