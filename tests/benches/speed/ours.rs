//! Our own controller in the place of the contender, started as `nat run --config` starts it.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use nat_userspace::{
    config,
    controller::{self, Controller},
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
};

use crate::lab::{FIRST_INSTANCE, INSIDE, Lab, UPLINK, instance};

/// Public addresses that are on no interface: the gateway's, and the first of the instances'.
pub const GATEWAY_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const FIRST_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 19, 1, 0);
/// What a configuration without `max_sessions` gets.
pub const DEFAULT_CAPACITY: u32 = 262_144;

/// With room for that many sessions and a quarter more, and so many instances with a public address of
/// their own.
pub fn start(lab: &Lab, attach: &str, room: u64, instances: u32) -> Result<(Controller, Pins)> {
    let text = configuration(attach, capacity(room)?, instances);
    let parsed = config::parse("bench", &text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let pins = Pins::new(DEFAULT_PIN_DIR);
    let controller = lab
        .device
        .run(|| Ok(controller::start(&parsed, &pins, LoadOptions::default())?))?;
    Ok((controller, pins))
}

fn capacity(sessions: u64) -> Result<u32> {
    let wanted = u32::try_from(sessions + sessions / 4).context("too many sessions")?;
    Ok(wanted.max(DEFAULT_CAPACITY))
}

/// Timers are long, so that no session ends while a figure is taken.
pub fn configuration(attach: &str, max_sessions: u32, instances: u32) -> String {
    let mut text = format!(
        r#"[node]
uplink = ["{UPLINK}"]
attach = "{attach}"
max_sessions = {max_sessions}

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true

  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.0.0/16"
  interface = "{INSIDE}"
  route_table = "public"

  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  interface = "{INSIDE}"
  route_table = "private"

  [[vpc.route_table]]
  name = "public"
  routes = [{{ destination = "0.0.0.0/0", target = "internet-gateway" }}]

  [[vpc.route_table]]
  name = "private"
  routes = [{{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }}]

  [[vpc.nat_gateway]]
  name = "egress"
  subnet = "public-a"
  private_ip = "10.20.255.100"
  public_ips = ["{GATEWAY_PUBLIC}"]
  timeouts = {{ udp = 7200, udp_stream = 7200 }}
"#
    );
    for number in 0..instances {
        text += &format!(
            "\n  [[vpc.instance]]\n  name = \"host-{number}\"\n  subnet = \"public-a\"\n  private_ip = \"{}\"\n  public_ip = \"{}\"\n",
            instance(FIRST_INSTANCE, number),
            instance(FIRST_PUBLIC, number)
        );
    }
    text
}
