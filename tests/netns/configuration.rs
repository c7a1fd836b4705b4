//! The configuration files of the labs, written as a user would write them.
//! picture.rs builds the nodes they name.
use std::fs;

use anyhow::{Context, Result};

use super::{Hook, Namespace};

/// In the private /run of a node with its own mounts.
const PATH: &str = "/run/nat-lab.toml";

/// The classic picture's configuration. `gateway_keys` are further lines of the NAT gateway's table,
/// such as `timeouts = { udp = 2 }`.
pub fn classic(hook: Hook, gateway_keys: &str) -> String {
    format!(
        r#"[node]
name = "edge-1"
uplink = ["uplink0"]
attach = "{hook}"

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true

  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  zone = "a"
  interface = "public0"
  route_table = "public"

  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  zone = "a"
  interface = "private0"
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
  private_ip = "10.20.1.100"
  public_ips = ["198.51.100.10"]
  {gateway_keys}

  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
"#
    )
}

/// Puts a configuration into a file that only `node` sees, and that goes with it; its path there.
pub fn put(node: &Namespace, text: &str) -> Result<&'static str> {
    node.run(|| fs::write(PATH, text).with_context(|| PATH.to_owned()))?;
    Ok(PATH)
}
