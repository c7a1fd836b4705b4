//! Our own controller in the place of the contender, started as `nat run --config` starts it.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use nat_tests::netns::configuration::Configuration;
use nat_userspace::{
    config,
    controller::{self, Controller},
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
};

use crate::{
    filters::Filter,
    lab::{INSIDE, Lab, UPLINK},
};

/// Public addresses that are on no interface: the gateway's, and the first of the instances'.
pub const GATEWAY_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const FIRST_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 19, 1, 0);
/// What a configuration without `max_sessions` gets.
pub const DEFAULT_CAPACITY: u32 = 262_144;

/// Where [`crate::lab::CLIENT`] is, and where the instances are.
pub const PRIVATE_SUBNET: &str = "private-a";
pub const PUBLIC_SUBNET: &str = "public-a";

/// With room for that many sessions and a quarter more, and so many instances with a public address of
/// their own.
pub fn start(
    lab: &Lab,
    attach: &str,
    room: u64,
    instances: u32,
    filter: Filter,
) -> Result<(Controller, Pins)> {
    let text = filtering(attach, capacity(room)?, instances, filter);
    let parsed = config::parse("bench", &text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let pins = Pins::new(DEFAULT_PIN_DIR);
    let controller = lab
        .device
        .run(|| Ok(controller::start(&parsed, &pins, LoadOptions::default())?))?;
    Ok((controller, pins))
}

pub fn capacity(sessions: u64) -> Result<u32> {
    let wanted = u32::try_from(sessions + sessions / 4).context("too many sessions")?;
    Ok(wanted.max(DEFAULT_CAPACITY))
}

/// Without rules.
pub fn configuration(attach: &str, max_sessions: u32, instances: u32) -> String {
    filtering(attach, max_sessions, instances, Filter::None)
}

/// Timers are long, so that no session ends while a figure is taken.
fn filtering(attach: &str, max_sessions: u32, instances: u32, filter: Filter) -> String {
    let (of_public, of_private) = match instances {
        0 => ("", filter.of_subnet()),
        _ => (filter.of_subnet(), ""),
    };
    let gateway = format!(
        "public_ips = [\"{GATEWAY_PUBLIC}\"]\ntimeouts = {{ udp = 7200, udp_stream = 7200 }}"
    );
    let text = Configuration::new(UPLINK, attach, &["10.20.0.0/16", "10.40.0.0/16"])
        .with_node(&format!("max_sessions = {max_sessions}"))
        .subnet(
            PUBLIC_SUBNET,
            "10.20.0.0/16",
            INSIDE,
            &format!("route_table = \"public\"\n{of_public}"),
        )
        .subnet(
            PRIVATE_SUBNET,
            "10.40.2.0/24",
            INSIDE,
            &format!("route_table = \"private\"\n{of_private}"),
        )
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &[("0.0.0.0/0", "nat-gateway:egress")])
        .nat_gateway("egress", PUBLIC_SUBNET, "10.20.255.100", &gateway);
    text.to_string() + &filter.objects(instances)
}
