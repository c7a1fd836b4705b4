//! Route tables as the dataplane holds them.

use nat_common::map_types::NameKey;
use serde::Serialize;

use crate::{
    error::Result,
    held::{Held, why_nowhere},
    pins::Pins,
};

/// One route table.
#[derive(Clone, Debug, Serialize)]
pub struct TableRecord {
    /// Its VPC.
    pub vpc: String,
    /// Its name.
    pub route_table: String,
    /// The subnets that use it.
    pub subnets: Vec<String>,
    /// Its routes, `local` ones included.
    pub routes: Vec<RouteRecord>,
}

/// One route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteRecord {
    /// Its destinations.
    pub destination: String,
    /// As the configuration has it; an instance by its address.
    pub target: String,
    /// Why packets are dropped, of a blackhole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// Reads them all.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<TableRecord>> {
    let held = Held::read(pins)?;
    let mut tables: Vec<TableRecord> = Vec::new();
    let mut last = None;
    for route in held.routes(None)? {
        if last != Some(route.table) {
            last = Some(route.table);
            let full = held.names.get(NameKey::ROUTE_TABLE, route.table);
            let (vpc, name) = full.split_once('/').unwrap_or(("", &full));
            let users = held.subnets.iter();
            tables.push(TableRecord {
                vpc: vpc.to_owned(),
                route_table: name.to_owned(),
                subnets: users
                    .filter(|each| each.subnet.route_table == route.table)
                    .map(|each| held.name(NameKey::SUBNET, each.subnet.number))
                    .collect(),
                routes: Vec::new(),
            });
        }
        if let Some(table) = tables.last_mut() {
            table.routes.push(RouteRecord {
                destination: route.destination.to_string(),
                target: held.target(route.target),
                reason: why_nowhere(route.target),
            });
        }
    }
    tables.sort_by(|a, b| (&a.vpc, &a.route_table).cmp(&(&b.vpc, &b.route_table)));
    Ok(tables)
}
