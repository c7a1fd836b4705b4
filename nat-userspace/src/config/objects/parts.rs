//! What an object of the API is read as, and which lists of a VPC such parts are in.

use super::{Kind, ObjectKey};
use crate::config::{
    balancing::{self, LoadBalancerDraft, TargetGroupDraft},
    draft::{InstanceDraft, RouteDraft, RouteTableDraft, SubnetDraft, VpcDraft},
    endpoints::{self, EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft},
    filtering::{
        NetworkAclDraft, PrefixListDraft, SecurityGroupDraft, network_acl, prefix_list,
        security_group,
    },
    gateways::{NatGatewayDraft, nat_gateway},
    parse,
    place::{Read, Report},
    placement::{self, HostDraft, PlacementGroupDraft, RackDraft},
    proxies::{self, ProxyDraft},
    reader::{Field, Section, field},
    toml::Table,
    types::{
        Endpoint, EndpointAcceptance, EndpointService, Host, Instance, LoadBalancer, NatGateway,
        NetworkAcl, PlacementGroup, PrefixList, Proxy, Rack, RouteTable, SecurityGroup, Subnet,
        TargetGroup, Vpc,
    },
    values,
};

/// An object that was read.
pub enum Part {
    Vpc(Box<VpcDraft>),
    RouteTable(RouteTableDraft),
    /// With the name of its table.
    Route(String, RouteDraft),
    Subnet(SubnetDraft),
    NatGateway(Box<NatGatewayDraft>),
    Instance(InstanceDraft),
    PrefixList(PrefixListDraft),
    SecurityGroup(SecurityGroupDraft),
    NetworkAcl(NetworkAclDraft),
    Rack(RackDraft),
    Host(HostDraft),
    PlacementGroup(PlacementGroupDraft),
    TargetGroup(TargetGroupDraft),
    LoadBalancer(LoadBalancerDraft),
    EndpointService(EndpointServiceDraft),
    EndpointAcceptance(EndpointAcceptanceDraft),
    Endpoint(Box<EndpointDraft>),
    Proxy(ProxyDraft),
}

/// Reads an object of the API; mistakes go to `report`.
pub fn read(key: &ObjectKey, table: &Table<'_>, report: &mut Report<'_>) -> Option<Part> {
    let section = Section::new(table, key.place());
    let part = match key.kind {
        Kind::Vpc => Part::Vpc(Box::new(section.whole(report, parse::vpc))),
        Kind::RouteTable => Part::RouteTable(section.whole(report, parse::route_table)),
        Kind::Route => section.whole(report, route)?,
        Kind::Subnet => Part::Subnet(section.whole(report, parse::subnet)),
        Kind::NatGateway => Part::NatGateway(Box::new(section.whole(report, nat_gateway))),
        Kind::Instance => Part::Instance(section.whole(report, parse::instance)),
        Kind::PrefixList => Part::PrefixList(section.whole(report, prefix_list)),
        Kind::SecurityGroup => Part::SecurityGroup(section.whole(report, security_group)),
        Kind::NetworkAcl => Part::NetworkAcl(section.whole(report, network_acl)),
        Kind::Rack => Part::Rack(section.whole(report, placement::rack)),
        Kind::Host => Part::Host(section.whole(report, placement::host)),
        Kind::PlacementGroup => {
            Part::PlacementGroup(section.whole(report, placement::placement_group))
        }
        Kind::TargetGroup => Part::TargetGroup(section.whole(report, balancing::target_group)),
        Kind::LoadBalancer => Part::LoadBalancer(section.whole(report, balancing::load_balancer)),
        Kind::EndpointService => {
            Part::EndpointService(section.whole(report, endpoints::endpoint_service))
        }
        Kind::EndpointAcceptance => {
            Part::EndpointAcceptance(section.whole(report, endpoints::endpoint_acceptance))
        }
        Kind::Endpoint => Part::Endpoint(Box::new(section.whole(report, endpoints::endpoint))),
        Kind::Proxy => Part::Proxy(section.whole(report, proxies::proxy)),
    };
    (!report.has_errors()).then_some(part)
}

fn route(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Part> {
    const TABLE: Field = field("route_table", "a string", "route_table = \"private\"");
    let name = parse::required_name(section, report);
    let table = section.required(report, &TABLE, values::owned_text);
    let mut route = parse::route(section, report);
    route.object = name.required();
    Some(Part::Route(table.required()?, route))
}

/// What there is a list of in a VPC.
pub trait Listed: Clone + Sized {
    type Built;
    fn name(&self) -> &Read<String>;
    fn list(vpc: &mut VpcDraft) -> &mut Vec<Self>;
    fn drafts(vpc: &VpcDraft) -> &[Self];
    fn built(vpc: &mut Vpc) -> &mut Vec<Self::Built>;
    fn finished(self) -> Option<Self::Built>;
    fn part(self) -> Part;
    fn of(part: Part) -> Option<Self>;
}

macro_rules! listed {
    ($draft:ty, $built:ty, $list:ident, $part:ident, $wrap:expr, $unwrap:expr) => {
        impl Listed for $draft {
            type Built = $built;
            fn name(&self) -> &Read<String> {
                &self.name
            }
            fn list(vpc: &mut VpcDraft) -> &mut Vec<Self> {
                &mut vpc.$list
            }
            fn drafts(vpc: &VpcDraft) -> &[Self] {
                &vpc.$list
            }
            fn built(vpc: &mut Vpc) -> &mut Vec<$built> {
                &mut vpc.$list
            }
            fn finished(self) -> Option<$built> {
                self.build()
            }
            fn part(self) -> Part {
                Part::$part($wrap(self))
            }
            fn of(part: Part) -> Option<Self> {
                match part {
                    Part::$part(draft) => Some($unwrap(draft)),
                    _ => None,
                }
            }
        }
    };
    ($draft:ty, $built:ty, $list:ident, $part:ident) => {
        listed!(
            $draft,
            $built,
            $list,
            $part,
            std::convert::identity,
            std::convert::identity
        );
    };
}

listed!(RouteTableDraft, RouteTable, route_tables, RouteTable);
listed!(SubnetDraft, Subnet, subnets, Subnet);
listed!(InstanceDraft, Instance, instances, Instance);
listed!(PrefixListDraft, PrefixList, prefix_lists, PrefixList);
listed!(
    SecurityGroupDraft,
    SecurityGroup,
    security_groups,
    SecurityGroup
);
listed!(NetworkAclDraft, NetworkAcl, network_acls, NetworkAcl);
listed!(RackDraft, Rack, racks, Rack);
listed!(HostDraft, Host, hosts, Host);
listed!(
    PlacementGroupDraft,
    PlacementGroup,
    placement_groups,
    PlacementGroup
);
listed!(
    NatGatewayDraft,
    NatGateway,
    nat_gateways,
    NatGateway,
    Box::new,
    |boxed: Box<_>| *boxed
);
listed!(TargetGroupDraft, TargetGroup, target_groups, TargetGroup);
listed!(
    LoadBalancerDraft,
    LoadBalancer,
    load_balancers,
    LoadBalancer
);
listed!(
    EndpointServiceDraft,
    EndpointService,
    endpoint_services,
    EndpointService
);
listed!(
    EndpointAcceptanceDraft,
    EndpointAcceptance,
    endpoint_acceptances,
    EndpointAcceptance
);
listed!(
    EndpointDraft,
    Endpoint,
    endpoints,
    Endpoint,
    Box::new,
    |boxed: Box<_>| *boxed
);
listed!(ProxyDraft, Proxy, proxies, Proxy);
