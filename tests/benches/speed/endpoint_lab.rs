//! The lab of endpoints.rs: one client, and everything that it reaches in its own VPC, outside, and in another VPC,
//! behind one device with one configuration. So whoever is compared differs in nothing but the address.
//!
//! ```text
//! client 10.40.2.10 ─ inside0 ┐        ┌ uplink0 ─ outside 198.51.100.254, .253
//! near   10.40.3.10 ─ near0   ┤ device ┤
//!                                      └ target0 ─ target 10.60.2.10, in the VPC `provider`
//! ```
use std::net::Ipv4Addr;

use anyhow::Result;
use nat_tests::netns::{Namespace, configuration::Configuration, ethtool::Offload};
use nat_userspace::{
    config,
    controller::{self, Controller},
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
};
use tokio::runtime::Runtime;

use crate::{
    CORE,
    core::hold_core,
    lab::{
        CLIENT, CLIENTS, CLIENTS_ROUTER, INSIDE, OWN_PUBLIC, SERVER, UPLINK, forward, link,
        neighbours,
    },
    ours::{GATEWAY_PUBLIC, capacity},
    traffic::Place,
};

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 40, 3, 10);
const NEAR_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 40, 3, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 60, 2, 10);
const TARGET_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 60, 2, 1);
/// Outside, too, and reached by the gateway endpoint.
const STORE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 253);
/// The interface endpoint's address, and that of the load balancer behind it.
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 40, 3, 60);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 60, 2, 50);

const NEAR_LINK: [&str; 2] = ["near0", "far0"];
const TARGET_LINK: [&str; 2] = ["target0", "far0"];
const OUTSIDE_DEVICE: &str = "out0";
const CLIENT_DEVICE: &str = "in0";

/// Where servers listen; by the second one the load balancer says whose a connection is.
pub const PORT: u16 = 5001;
pub const PORT_PROXIED: u16 = 5002;
const PORT_CHECKED: u16 = 5000;

/// The way a connection of the client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Local,
    NatGateway,
    GatewayEndpoint,
    InterfaceEndpoint,
    ProxyProtocol,
}

impl By {
    pub const ALL: [Self; 5] = [
        Self::Local,
        Self::NatGateway,
        Self::GatewayEndpoint,
        Self::InterfaceEndpoint,
        Self::ProxyProtocol,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Local => "one VPC, route `local`",
            Self::NatGateway => "NAT gateway",
            Self::GatewayEndpoint => "gateway endpoint",
            Self::InterfaceEndpoint => "interface endpoint, another VPC",
            Self::ProxyProtocol => "the same with proxy_protocol_v2",
        }
    }

    /// Whom the client asks.
    pub fn asked(self) -> Ipv4Addr {
        match self {
            Self::InterfaceEndpoint | Self::ProxyProtocol => ENDPOINT,
            _ => self.server(),
        }
    }

    pub fn server(self) -> Ipv4Addr {
        match self {
            Self::Local => NEAR,
            Self::NatGateway => SERVER,
            Self::GatewayEndpoint => STORE,
            Self::InterfaceEndpoint | Self::ProxyProtocol => TARGET,
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Self::ProxyProtocol => PORT_PROXIED,
            _ => PORT,
        }
    }

    /// Whom the server sees.
    pub fn seen(self) -> Ipv4Addr {
        match self {
            Self::Local | Self::GatewayEndpoint => CLIENT,
            Self::NatGateway => GATEWAY_PUBLIC,
            Self::InterfaceEndpoint | Self::ProxyProtocol => NODE,
        }
    }
}

/// See the module.
pub struct EndpointLab {
    // Dropped in this order: what the controller does in the background ends with it.
    _controller: Controller,
    _runtime: Runtime,
    pub client: Namespace,
    near: Namespace,
    outside: Namespace,
    target: Namespace,
}

impl EndpointLab {
    /// With our controller attached to that hook, and room for so many sessions.
    pub fn new(attach: &str, room: u64) -> Result<Self> {
        let device = Namespace::with_own_mounts("device")?;
        let [client, near, outside, target] =
            ["client", "near", "outside", "target"].map(Namespace::new);
        let (client, near, outside, target) = (client?, near?, outside?, target?);
        for (inner, router, node, far, host) in [
            (INSIDE, CLIENTS_ROUTER, &client, CLIENT_DEVICE, CLIENT),
            (NEAR_LINK[0], NEAR_ROUTER, &near, NEAR_LINK[1], NEAR),
            (UPLINK, OWN_PUBLIC, &outside, OUTSIDE_DEVICE, SERVER),
            (
                TARGET_LINK[0],
                TARGET_ROUTER,
                &target,
                TARGET_LINK[1],
                TARGET,
            ),
        ] {
            link((&device, inner, router), (node, far, host), 1)?;
            node.route("0.0.0.0/0", &router.to_string())?;
            neighbours(node, far, [router], router)?;
            neighbours(&device, inner, [host], host)?;
        }
        outside.address(OUTSIDE_DEVICE, &format!("{STORE}/24"))?;
        neighbours(&device, UPLINK, [STORE], SERVER)?;
        device.route("0.0.0.0/0", &SERVER.to_string())?;
        forward(&device, &[INSIDE, NEAR_LINK[0], UPLINK, TARGET_LINK[0]])?;
        // Connections of earlier rounds keep theirs for a minute.
        client.set("net/ipv4/ip_local_port_range", "1024 65535")?;
        let (controller, runtime) = start(&device, &configuration(attach, capacity(room)?))?;
        let lab = Self {
            _controller: controller,
            _runtime: runtime,
            client,
            near,
            outside,
            target,
        };
        if attach == "xdp" {
            lab.finish_frames()?;
        }
        Ok(lab)
    }

    /// Has the hosts send what XDP can see whole: with checksums goes the cutting of segments behind the stack.
    fn finish_frames(&self) -> Result<()> {
        let far = By::ALL.map(|by| self.ends(by)[1].clone());
        for (node, device) in far.iter().chain([&(self.client.clone(), CLIENT_DEVICE)]) {
            node.offload(device, Offload::TransmitChecksum, false)?;
        }
        Ok(())
    }

    /// The server's host.
    pub fn host(&self, by: By) -> &Namespace {
        match by {
            By::Local => &self.near,
            By::NatGateway | By::GatewayEndpoint => &self.outside,
            By::InterfaceEndpoint | By::ProxyProtocol => &self.target,
        }
    }

    /// The client's end, and the server's.
    pub fn ends(&self, by: By) -> [Place; 2] {
        let device = match by {
            By::Local => NEAR_LINK[1],
            By::NatGateway | By::GatewayEndpoint => OUTSIDE_DEVICE,
            By::InterfaceEndpoint | By::ProxyProtocol => TARGET_LINK[1],
        };
        [
            (self.client.clone(), CLIENT_DEVICE),
            (self.host(by).clone(), device),
        ]
    }
}

/// As `nat run` starts it, but that what it does in the background is kept to the core that figures are taken on:
/// relaying takes its part of that.
fn start(device: &Namespace, text: &str) -> Result<(Controller, Runtime)> {
    let parsed = config::parse("bench", text).map_err(|error| anyhow::anyhow!("{error}"))?;
    device.run(|| {
        // Threads that it makes inherit that.
        let _held = hold_core(CORE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let pins = Pins::new(DEFAULT_PIN_DIR);
        let mut controller = controller::start(&parsed, &pins, LoadOptions::default())?;
        controller.serve_balancers(&parsed)?;
        drop(entered);
        Ok((controller, runtime))
    })
}

fn configuration(attach: &str, max_sessions: u32) -> String {
    let by_table = |name| format!("route_table = \"{name}\"");
    let to_store = ("prefix-list:store", "endpoint:store");
    Configuration::new(UPLINK, attach, &["10.40.0.0/16"])
        .with_node(&format!("max_sessions = {max_sessions}"))
        .subnet("clients", CLIENTS, INSIDE, &by_table("private"))
        .subnet("near", "10.40.3.0/24", NEAR_LINK[0], &by_table("public"))
        .route_table("private", &[("0.0.0.0/0", "nat-gateway:egress"), to_store])
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .nat_gateway(
            "egress",
            "near",
            "10.40.3.100",
            &format!("public_ips = [\"{GATEWAY_PUBLIC}\"]"),
        )
        .prefix_list("store", &[&format!("{STORE}/32")])
        .and(&format!(
            r#"
  [[vpc.endpoint]]
  name = "store"
  type = "gateway"
  prefix_lists = ["store"]

  [[vpc.endpoint]]
  name = "db"
  type = "interface"
  service = "provider/db"
  interfaces = [{{ subnet = "near", private_ip = "{ENDPOINT}" }}]
"#
        ))
        .vpc("provider", &["10.60.0.0/16"])
        .subnet("targets", "10.60.2.0/24", TARGET_LINK[0], &by_table("main"))
        .route_table("main", &[("0.0.0.0/0", "internet-gateway")])
        .instance("target", "targets", &TARGET.to_string(), "")
        .and(&target_group("tcp", "tcp", PORT, ""))
        .and(&target_group("udp", "udp", PORT, ""))
        .and(&target_group(
            "proxied",
            "tcp",
            PORT_PROXIED,
            "proxy_protocol_v2 = true",
        ))
        .and(&format!(
            r#"
  [[vpc.load_balancer]]
  name = "db"
  subnet = "targets"
  private_ip = "{NODE}"
  listeners = [
    {{ protocol = "tcp", port = {PORT}, target_group = "tcp" }},
    {{ protocol = "udp", port = {PORT}, target_group = "udp" }},
    {{ protocol = "tcp", port = {PORT_PROXIED}, target_group = "proxied" }},
  ]

  [[vpc.endpoint_service]]
  name = "db"
  load_balancer = "db"
  acceptance_required = false
"#
        ))
        .to_string()
}

/// Whether its target is well is asked where nobody counts connections, and no answer changes anything here.
fn target_group(name: &str, protocol: &str, port: u16, keys: &str) -> String {
    format!(
        r#"
  [[vpc.target_group]]
  name = "{name}"
  protocol = "{protocol}"
  port = {port}
  targets = ["target"]
  health_check = {{ port = {PORT_CHECKED} }}
  {keys}
"#
    )
}
