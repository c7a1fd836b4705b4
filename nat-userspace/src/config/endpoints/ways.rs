//! Checks of routes to endpoints.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use super::draft::{EndpointDraft, EndpointType};
use crate::config::index::Index;
use crate::config::nets::Nets;
use crate::config::place::{Located, Place, Report};
use crate::config::suggest::{listed, quoted};
use crate::config::types::Destination;

/// What a VPC's endpoints may be routed. Many routes lead to few endpoints, so what an endpoint serves is put
/// together once, when the first one does.
pub struct Ways<'a> {
    index: &'a Index<'a>,
    served: RefCell<FxHashMap<&'a str, Served>>,
}

/// The entries of an endpoint's prefix lists; `None` when not all of them could be read.
type Served = Option<Nets<()>>;

impl<'a> Ways<'a> {
    pub fn new(index: &'a Index<'a>) -> Self {
        Self {
            index,
            served: RefCell::default(),
        }
    }

    /// Reports a destination that the gateway endpoint of this name does not serve.
    pub fn destination(
        &self,
        name: &str,
        destination: &Located<Destination>,
        report: &mut Report<'_>,
    ) {
        let Some(endpoint) = self.index.endpoints.get(name) else {
            return;
        };
        let lists = &endpoint.prefix_lists;
        if endpoint.kind.value() != Some(&EndpointType::Gateway) || !lists.complete {
            return;
        }
        let is_served = match &destination.value {
            Destination::PrefixList(list) => lists.items.iter().any(|item| item.value == *list),
            Destination::Cidr(prefix) => self.serves(endpoint, *prefix),
        };
        if is_served {
            return;
        }
        let position = report.position(&endpoint.place);
        let existing = listed(lists.items.iter().map(|list| list.value.as_str()));
        let (what, how) = match &destination.value {
            Destination::PrefixList(list) => {
                (format!("prefix list {}", quoted(list)), "route one of")
            }
            Destination::Cidr(prefix) => (prefix.to_string(), "route what lies in one of"),
        };
        report.error(
            &destination.place,
            format!(
                "endpoint {} ({position}) does not serve {what}",
                quoted(name)
            ),
            format!("{how} its prefix lists: {existing}"),
        );
    }

    fn serves(&self, endpoint: &'a EndpointDraft, prefix: ipnet::Ipv4Net) -> bool {
        let Some(name) = endpoint.name.value() else {
            return true;
        };
        let mut served = self.served.borrow_mut();
        let nets = served
            .entry(name.as_str())
            .or_insert_with(|| self.served_by(endpoint));
        nets.as_ref()
            .is_none_or(|nets| nets.around(prefix).is_some())
    }

    fn served_by(&self, endpoint: &EndpointDraft) -> Served {
        let mut entries = Vec::new();
        for name in &endpoint.prefix_lists.items {
            // One that is missing was reported as that.
            let list = self.index.prefix_lists.get(&name.value)?;
            if !list.entries.complete {
                return None;
            }
            entries.extend(list.entries.items.iter().map(|entry| (entry.value, ())));
        }
        Some(entries.into_iter().collect())
    }
}

/// Reports that nothing can be routed to an endpoint that has addresses of its own.
pub fn takes_routes(endpoint: &EndpointDraft, name: &str, place: &Place, report: &mut Report<'_>) {
    if endpoint.kind.value() == Some(&EndpointType::Interface) {
        let position = report.position(&endpoint.place);
        report.error(
            place,
            format!(
                "endpoint {} ({position}) is an interface endpoint, which has addresses of its own",
                quoted(name)
            ),
            "remove the route, or name a gateway endpoint",
        );
    }
}
