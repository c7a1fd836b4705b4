//! What endpoints and load balancers do, by the names that AWS gives the figures of PrivateLink endpoints and of
//! Network Load Balancers.

use std::collections::BTreeMap;

use nat_common::map_types::{GatewayCounter, Listener, ListenerKey, TargetTable};
use serde::Serialize;

use super::{Counts, Live};
use crate::{
    endpoints::{self, EndpointType, TargetState},
    error::Result,
};

/// The figures of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndpointMetrics {
    /// Its VPC.
    pub vpc: String,
    /// Its name.
    pub endpoint: String,
    /// `gateway` or `interface`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// See [`EndpointFigures`].
    #[serde(flatten)]
    pub figures: EndpointFigures,
}

/// As AWS names them for PrivateLink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointFigures {
    /// TCP connections that are opening or open.
    pub active_connections: u64,
    /// TCP connections that both ends have opened.
    pub new_connections: u64,
    /// Bytes in both directions, from the IP header on.
    pub bytes_processed: u64,
    /// Packets dropped on their way through it.
    pub packets_dropped: u64,
}

/// The figures of a load balancer: of what is sent to its own address. What comes by endpoints counts there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadBalancerMetrics {
    /// Its VPC.
    pub vpc: String,
    /// Its name.
    pub load_balancer: String,
    /// See [`LoadBalancerFigures`].
    #[serde(flatten)]
    pub figures: LoadBalancerFigures,
}

/// As AWS names them for Network Load Balancers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoadBalancerFigures {
    /// UDP flows, and TCP connections that are opening or open.
    pub active_flow_count: u64,
    /// First packets of TCP connections.
    #[serde(rename = "NewFlowCount_TCP")]
    pub new_flow_count_tcp: u64,
    /// Bytes in both directions, from the IP header on.
    pub processed_bytes: u64,
    /// Packets in both directions.
    pub processed_packets: u64,
    /// Flows that found no port free towards their target.
    pub port_allocation_error_count: u64,
    /// Targets that get flows.
    pub healthy_host_count: u64,
    /// Registered targets that get none.
    pub un_healthy_host_count: u64,
}

/// What a load balancer has targets by.
pub(super) struct Targets {
    pub listeners: Vec<(ListenerKey, Listener)>,
    pub tables: BTreeMap<u32, TargetTable>,
}

impl Targets {
    /// How many targets of a gateway's listeners get flows, and how many get none; one of several target groups
    /// counts in each.
    fn hosts(&self, gateway: u32) -> (u64, u64) {
        let listeners = self.listeners.iter();
        let its = listeners.filter(|(key, _)| key.gateway == gateway);
        let mut groups: Vec<u32> = its.map(|(_, listener)| listener.table).collect();
        groups.sort_unstable();
        groups.dedup();
        let tables = groups.iter().filter_map(|group| self.tables.get(group));
        let mut counts = (0, 0);
        for target in tables.flat_map(endpoints::targets) {
            match target.state {
                TargetState::Active => counts.0 += 1,
                TargetState::Unhealthy => counts.1 += 1,
                TargetState::Draining => {}
            }
        }
        counts
    }
}

pub(super) fn of_endpoint(
    vpc: &str,
    name: &str,
    kind: EndpointType,
    (number, counts, live): (u32, &Counts, Live),
) -> Result<EndpointMetrics> {
    let traffic = counts.traffic(number)?;
    Ok(EndpointMetrics {
        vpc: vpc.to_owned(),
        endpoint: name.to_owned(),
        kind: kind.name(),
        figures: EndpointFigures {
            active_connections: live.open,
            new_connections: counts.count(number, GatewayCounter::Established)? + live.established,
            bytes_processed: traffic.bytes_out + traffic.bytes_in,
            packets_dropped: counts.count(number, GatewayCounter::Drops)?,
        },
    })
}

pub(super) fn of_load_balancer(
    vpc: &str,
    name: &str,
    targets: &Targets,
    (number, counts, live): (u32, &Counts, Live),
) -> Result<LoadBalancerMetrics> {
    let traffic = counts.traffic(number)?;
    let (healthy, unhealthy) = targets.hosts(number);
    Ok(LoadBalancerMetrics {
        vpc: vpc.to_owned(),
        load_balancer: name.to_owned(),
        figures: LoadBalancerFigures {
            active_flow_count: live.open + live.others,
            new_flow_count_tcp: counts.count(number, GatewayCounter::Attempts)?,
            processed_bytes: traffic.bytes_out + traffic.bytes_in,
            processed_packets: traffic.packets_out + traffic.packets_in,
            port_allocation_error_count: counts.count(number, GatewayCounter::PortErrors)?,
            healthy_host_count: healthy,
            un_healthy_host_count: unhealthy,
        },
    })
}

#[cfg(test)]
mod tests {
    use nat_common::{
        address::{Address, Port},
        map_types::BalancedTarget,
    };

    use super::*;

    #[test]
    fn hosts_are_those_of_the_groups_that_it_listens_for() {
        let mut table = TargetTable::default();
        for place in 0..3 {
            table.targets[place] = BalancedTarget {
                address: Address::from_wire([10, 0, 0, place as u8 + 1]),
                port: Port::new(80),
                is_draining: u16::from(place == 2),
            };
        }
        table.slots.fill(1);
        let listener = |gateway, port| {
            let key = ListenerKey {
                gateway,
                port: Port::new(port),
                ..ListenerKey::default()
            };
            let listener = Listener {
                table: 4,
                ..Listener::default()
            };
            (key, listener)
        };
        let targets = Targets {
            listeners: vec![listener(7, 80), listener(7, 81), listener(8, 80)],
            tables: BTreeMap::from([(4, table)]),
        };
        assert_eq!(targets.hosts(7), (1, 1));
        assert_eq!(targets.hosts(9), (0, 0));
    }
}
