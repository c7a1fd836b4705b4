//! Who is measured: what translates between the two ends of a lab, how it is set up, and what its
//! packets look like at both ends.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};
use nat_common::map_types::{Session, SessionKey, names};
use nat_userspace::{
    bpf_batch, config,
    controller::{self, Controller},
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
};

use crate::{
    conntrack,
    flows::{Flows, Way},
    lab::{FIRST_INSTANCE, INSIDE, Lab, OWN_PUBLIC, UPLINK, instance},
    peer::{Peer, Running},
    plan::Plan,
    traffic::{Amount, Sent, Traffic, program},
};

/// Public addresses that are on no interface: the gateway's, and the first of the instances'.
pub const GATEWAY_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const FIRST_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 19, 1, 0);
/// With more flows than this, instances have several each.
const MOST_INSTANCES: u32 = 10_000;
/// What a configuration without `max_sessions` gets.
const DEFAULT_CAPACITY: u32 = 262_144;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// XDP that sends every packet on as it is.
    Limit,
    /// The kernel's forwarding, without translation.
    Kernel,
    /// nftables' masquerade.
    Nft,
    XdpPat,
    XdpElastic,
    TcPat,
    Peer(Peer),
}

impl Kind {
    pub fn label(&self) -> &str {
        match self {
            Self::Limit => "XDP redirect, no look-up (the limit)",
            Self::Kernel => "kernel forwarding, no NAT",
            Self::Nft => "nftables masquerade",
            Self::XdpPat => "ours, XDP, PAT",
            Self::XdpElastic => "ours, XDP, 1:1",
            Self::TcPat => "ours, TC, PAT",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// How many hosts the flows come from, and how many flows each has.
    pub fn spread(&self, flows: u64) -> Flows {
        match self {
            Self::XdpElastic => Flows::spread(flows, flows.min(u64::from(MOST_INSTANCES)) as u32),
            _ => Flows::of_one_host(flows),
        }
    }

    /// The packets of these flows, that way.
    pub fn plan(&self, flows: &Flows, way: Way) -> Plan {
        match self {
            Self::Limit | Self::Kernel => flows.plan_routed(way),
            Self::XdpPat | Self::TcPat => flows.plan_shared(way, GATEWAY_PUBLIC),
            Self::Nft | Self::Peer(_) => flows.plan_shared(way, OWN_PUBLIC),
            Self::XdpElastic => flows.plan_one_to_one(way, FIRST_INSTANCE, FIRST_PUBLIC),
        }
    }
}

/// A contender that is set up.
pub struct Contender {
    pub kind: Kind,
    pub flows: Flows,
    pub lab: Lab,
    traffic: Traffic,
    middle: Middle,
}

/// What translates. Dropping it ends that; the lab's mounts hold the pins.
enum Middle {
    Kernel,
    Nft,
    Bounce {
        _programs: [Ebpf; 2],
    },
    Ours {
        controller: Box<Controller>,
        pins: Pins,
    },
    Peer {
        _running: Running,
    },
}

impl Contender {
    /// With room for that many sessions, and `queues` cores on a link.
    pub fn new(kind: &Kind, object: &[u8], flows: u64, room: u64, queues: u32) -> Result<Self> {
        let flows = kind.spread(flows);
        let instances = match kind {
            Kind::XdpElastic => flows.addresses,
            _ => 0,
        };
        let lab = Lab::new(instances, queues)?;
        let traffic = Traffic::new(&lab, object)?;
        let room = capacity(room)?;
        let middle = match kind {
            Kind::Limit => Middle::Bounce {
                _programs: bounce(&lab, object)?,
            },
            Kind::Kernel => Middle::Kernel,
            Kind::Nft => {
                conntrack::masquerade(&lab.device)?;
                Middle::Nft
            }
            Kind::XdpPat | Kind::XdpElastic => ours(&lab, "xdp", room, instances)?,
            Kind::TcPat => ours(&lab, "tc", room, instances)?,
            Kind::Peer(peer) => Middle::Peer {
                _running: peer.start(&lab)?,
            },
        };
        let mut contender = Self {
            kind: kind.clone(),
            flows,
            lab,
            traffic,
            middle,
        };
        contender.wait_until_it_forwards()?;
        Ok(contender)
    }

    /// Sends packets of all flows.
    pub fn send(&mut self, way: Way, amount: Amount, cores: &[usize]) -> Result<Sent> {
        let plan = self.kind.plan(&self.flows, way);
        self.traffic
            .send(&self.lab, way.from(), &plan, amount, cores)
    }

    /// Sends packets of other flows, one after the other.
    pub fn send_in_order(&mut self, flows: &Flows, way: Way, packets: u64) -> Result<Sent> {
        let plan = Plan {
            in_order: 1,
            ..self.kind.plan(flows, way)
        };
        let amount = Amount::Packets(packets);
        self.traffic
            .send(&self.lab, way.from(), &plan, amount, &[crate::CORE])
    }

    /// Sends a packet of each flow both ways and looks whether all of them arrived as they should, and
    /// whether the table holds as many sessions.
    pub fn establish(&mut self) -> Result<()> {
        let flows = self.flows;
        for way in [Way::Out, Way::In] {
            let sent = self.send_in_order(&flows, way, flows.count())?;
            ensure!(
                sent.received == sent.sent,
                "of {} flows, a packet {way} arrived of {} only ({} others did)",
                sent.sent,
                sent.received,
                sent.others
            );
        }
        match self.sessions()? {
            Some(sessions) if sessions != flows.count() => {
                bail!("{} flows have {sessions} sessions", flows.count())
            }
            _ => Ok(()),
        }
    }

    /// In its table, where it has one that can be counted.
    pub fn sessions(&self) -> Result<Option<u64>> {
        match (&self.kind, &self.middle) {
            (Kind::XdpElastic, _) => Ok(None),
            (_, Middle::Ours { pins, .. }) => {
                let mut count = 0;
                self.lab.device.run(|| {
                    let map = pins.open(names::SESSIONS)?;
                    bpf_batch::for_each::<SessionKey, Session>(&map, |_, _| count += 1)?;
                    Ok(())
                })?;
                Ok(Some(count))
            }
            (_, Middle::Nft) => conntrack::count(&self.lab.device).map(Some),
            _ => Ok(None),
        }
    }

    /// Our controller and pins, where it is ours.
    pub fn ours(&mut self) -> Option<(&Lab, &mut Controller, &Pins)> {
        match &mut self.middle {
            Middle::Ours { controller, pins } => Some((&self.lab, controller, pins)),
            _ => None,
        }
    }

    /// A peer says nothing when it is ready.
    fn wait_until_it_forwards(&mut self) -> Result<()> {
        const TRIES: u32 = 100;
        let first = Flows::of_one_host(1);
        let first = match self.kind {
            Kind::XdpElastic => self.kind.spread(1),
            _ => first,
        };
        let mut last = None;
        for _ in 0..TRIES {
            let sent = self.send_in_order(&first, Way::Out, 1)?;
            if sent.received == 1 {
                return Ok(());
            }
            last = Some(sent);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        bail!("{} forwards nothing: {last:?}", self.kind.label())
    }
}

fn capacity(sessions: u64) -> Result<u32> {
    let wanted = u32::try_from(sessions + sessions / 4).context("too many sessions")?;
    Ok(wanted.max(DEFAULT_CAPACITY))
}

/// A program on each interface that sends to the other one.
fn bounce(lab: &Lab, object: &[u8]) -> Result<[Ebpf; 2]> {
    let one = |from: &str, to: &str| -> Result<Ebpf> {
        let target = lab.device.index(to)?;
        let mut ebpf = EbpfLoader::new()
            .override_global("TARGET", &target, true)
            .load(object)?;
        let bounce: &mut Xdp = program(&mut ebpf, "bounce")?;
        bounce.load()?;
        lab.device
            .run(|| Ok(bounce.attach(from, XdpMode::Driver)?))?;
        Ok(ebpf)
    };
    Ok([one(INSIDE, UPLINK)?, one(UPLINK, INSIDE)?])
}

fn ours(lab: &Lab, attach: &str, max_sessions: u32, instances: u32) -> Result<Middle> {
    let text = configuration(attach, max_sessions, instances);
    let parsed = config::parse("bench", &text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let pins = Pins::new(DEFAULT_PIN_DIR);
    let controller = lab
        .device
        .run(|| Ok(controller::start(&parsed, &pins, LoadOptions::default())?))?;
    Ok(Middle::Ours {
        controller: Box::new(controller),
        pins,
    })
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
