//! The finished configuration follows the draft, step by step.

use super::{
    Kind,
    exchange::{Edit, Step},
    parts::Listed,
};
use crate::config::{
    balancing::{LoadBalancerDraft, TargetGroupDraft},
    draft::{Draft, InstanceDraft, RouteTableDraft, SubnetDraft, VpcDraft},
    endpoints::{EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft},
    filtering::{NetworkAclDraft, PrefixListDraft, SecurityGroupDraft},
    gateways::NatGatewayDraft,
    placement::{HostDraft, PlacementGroupDraft, RackDraft},
    proxies::ProxyDraft,
    types::{Config, DEFAULT_PRIVATE_DOMAIN, Vpc},
};

/// Does to the configuration what was done to the draft; `None` when the draft has a mistake.
pub fn follow(config: &mut Config, draft: &Draft, steps: &[Step]) -> Option<()> {
    for step in steps {
        if step.kind == Kind::Vpc {
            follow_vpc(config, draft, step.edit)?;
            continue;
        }
        let (from, to) = (draft.vpcs.get(step.vpc)?, config.vpcs.get_mut(step.vpc)?);
        match step.kind {
            Kind::RouteTable => follow_listed::<RouteTableDraft>(to, from, step.edit)?,
            Kind::Subnet => follow_listed::<SubnetDraft>(to, from, step.edit)?,
            Kind::NatGateway => follow_listed::<NatGatewayDraft>(to, from, step.edit)?,
            Kind::Instance => follow_listed::<InstanceDraft>(to, from, step.edit)?,
            Kind::PrefixList => follow_listed::<PrefixListDraft>(to, from, step.edit)?,
            Kind::SecurityGroup => follow_listed::<SecurityGroupDraft>(to, from, step.edit)?,
            Kind::NetworkAcl => follow_listed::<NetworkAclDraft>(to, from, step.edit)?,
            Kind::Rack => follow_listed::<RackDraft>(to, from, step.edit)?,
            Kind::Host => follow_listed::<HostDraft>(to, from, step.edit)?,
            Kind::PlacementGroup => follow_listed::<PlacementGroupDraft>(to, from, step.edit)?,
            Kind::TargetGroup => follow_listed::<TargetGroupDraft>(to, from, step.edit)?,
            Kind::LoadBalancer => follow_listed::<LoadBalancerDraft>(to, from, step.edit)?,
            Kind::EndpointService => follow_listed::<EndpointServiceDraft>(to, from, step.edit)?,
            Kind::EndpointAcceptance => {
                follow_listed::<EndpointAcceptanceDraft>(to, from, step.edit)?
            }
            Kind::Endpoint => follow_listed::<EndpointDraft>(to, from, step.edit)?,
            Kind::Proxy => follow_listed::<ProxyDraft>(to, from, step.edit)?,
            Kind::Vpc | Kind::Route => return None,
        }
    }
    Some(())
}

fn follow_listed<T: Listed>(to: &mut Vpc, from: &VpcDraft, edit: Edit) -> Option<()> {
    let list = T::built(to);
    let draft = |at| T::drafts(from).get(at).cloned().and_then(T::finished);
    match edit {
        Edit::Insert(at) => list.insert(at, draft(at)?),
        Edit::Replace(at) => *list.get_mut(at)? = draft(at)?,
        Edit::Remove(at) => drop(list.remove(at)),
    }
    Some(())
}

fn follow_vpc(config: &mut Config, draft: &Draft, edit: Edit) -> Option<()> {
    match edit {
        Edit::Insert(at) => config.vpcs.insert(at, draft.vpcs.get(at)?.clone().build()?),
        Edit::Remove(at) => drop(config.vpcs.remove(at)),
        Edit::Replace(at) => {
            let (from, to) = (draft.vpcs.get(at)?, config.vpcs.get_mut(at)?);
            to.cidrs = from.cidrs.clone().all()?;
            to.internet_gateway = from.internet_gateway.clone().or(false)?;
            to.strict = from.strict.clone().or(false)?;
            to.dns = from.dns.clone().or(true)?;
            let domain = from.private_domain.clone();
            to.private_domain = domain.or(DEFAULT_PRIVATE_DOMAIN.to_owned())?;
        }
    }
    Some(())
}
