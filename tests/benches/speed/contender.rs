//! Who is measured: what translates between the two ends of a lab, how it is set up, and what its
//! packets look like at both ends.
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};
use nat_userspace::{controller::Controller, pins::Pins, session_table::SessionTable};

use crate::{
    conntrack,
    filters::{Filter, Filtered},
    flows::{Flows, Way},
    lab::{FIRST_INSTANCE, INSIDE, Lab, OWN_PUBLIC, UPLINK},
    ours::{self, FIRST_PUBLIC, GATEWAY_PUBLIC},
    peer::{Peer, Running},
    plan::Plan,
    traffic::{Amount, Sent, Traffic, program},
};

/// With more flows than this, instances have several each.
const MOST_INSTANCES: u32 = 10_000;

const NO_TRAFFIC: &str = "the ends were left to sockets";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// XDP that sends every packet on as it is.
    Limit,
    /// The same, with a look-up in a table of a line for each flow.
    LookUp,
    /// The same, with two entries made in hash tables.
    Inserts,
    /// The kernel's forwarding, without translation.
    Kernel,
    /// nftables' masquerade.
    Nft,
    XdpPat,
    XdpElastic,
    TcPat,
    /// Ours, with rules or beside those with rules.
    Filtered(Filtered),
    Peer(Peer),
}

impl Kind {
    pub fn label(&self) -> &str {
        match self {
            Self::Limit => "XDP redirect, no look-up (the limit)",
            Self::LookUp => "XDP redirect, one bare look-up",
            Self::Inserts => "XDP redirect, two bare inserts",
            Self::Kernel => "kernel forwarding, no NAT",
            Self::Nft => "nftables masquerade",
            Self::XdpPat => "ours, XDP, PAT",
            Self::XdpElastic => "ours, XDP, 1:1",
            Self::TcPat => "ours, TC, PAT",
            Self::Filtered(filtered) => filtered.label(),
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Hosts have public addresses of their own.
    const fn is_one_to_one(&self) -> bool {
        match self {
            Self::XdpElastic => true,
            Self::Filtered(filtered) => filtered.one_to_one,
            _ => false,
        }
    }

    /// How many hosts the flows come from, and how many flows each has.
    pub fn spread(&self, flows: u64) -> Flows {
        match self.is_one_to_one() {
            true => Flows::spread(flows, flows.min(u64::from(MOST_INSTANCES)) as u32),
            false => Flows::of_one_host(flows),
        }
    }

    /// The packets of these flows, that way.
    pub fn plan(&self, flows: &Flows, way: Way) -> Plan {
        match self {
            Self::Limit | Self::LookUp | Self::Inserts | Self::Kernel => flows.plan_routed(way),
            _ if self.is_one_to_one() => flows.plan_one_to_one(way, FIRST_INSTANCE, FIRST_PUBLIC),
            Self::XdpPat | Self::XdpElastic | Self::TcPat | Self::Filtered(_) => {
                flows.plan_shared(way, GATEWAY_PUBLIC)
            }
            Self::Nft | Self::Peer(_) => flows.plan_shared(way, OWN_PUBLIC),
        }
    }
}

impl Middle {
    /// A program on each interface that sends to the other one, with so many lines and entries at most.
    fn bounce(lab: &Lab, object: &[u8], name: &str, lines: u64, entries: u64) -> Result<Self> {
        let lines = u32::try_from(lines)?.next_power_of_two();
        let entries = u32::try_from(entries)?;
        let one = |from: &str, to: &str| -> Result<Ebpf> {
            let target = lab.device.index(to)?;
            let mut loader = EbpfLoader::new();
            loader.override_global("TARGET", &target, true);
            loader.override_global("BARE_LINE_COUNT", &lines, true);
            loader.map_max_entries("BARE_LINES", lines);
            loader.map_max_entries("BARE_OUT", entries);
            loader.map_max_entries("BARE_IN", entries);
            let mut ebpf = loader.load(object)?;
            let bounce: &mut Xdp = program(&mut ebpf, name)?;
            bounce.load()?;
            lab.device
                .run(|| Ok(bounce.attach(from, XdpMode::Driver)?))?;
            Ok(ebpf)
        };
        Ok(Self::Bounce {
            _programs: [one(INSIDE, UPLINK)?, one(UPLINK, INSIDE)?],
        })
    }

    fn ours(lab: &Lab, attach: &str, room: u64, instances: u32, filter: Filter) -> Result<Self> {
        let (controller, pins) = ours::start(lab, attach, room, instances, filter)?;
        Ok(Self::Ours {
            controller: Box::new(controller),
            pins,
        })
    }
}

/// A contender that is set up.
pub struct Contender {
    pub kind: Kind,
    pub flows: Flows,
    pub lab: Lab,
    /// Until [`Contender::leave_the_ends`].
    traffic: Option<Traffic>,
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
        let instances = match kind.is_one_to_one() {
            true => flows.addresses,
            false => 0,
        };
        let lab = Lab::new(instances, queues)?;
        let traffic = Traffic::new(&lab, object)?;
        let middle = match kind {
            Kind::Limit => Middle::bounce(&lab, object, "bounce", 1, 1)?,
            Kind::LookUp => Middle::bounce(&lab, object, "bounce_looking_up", flows.count(), 1)?,
            Kind::Inserts => Middle::bounce(&lab, object, "bounce_inserting", 1, room)?,
            Kind::Kernel => Middle::Kernel,
            Kind::Nft => {
                conntrack::masquerade(&lab.device)?;
                Middle::Nft
            }
            Kind::XdpPat | Kind::XdpElastic => {
                Middle::ours(&lab, "xdp", room, instances, Filter::None)?
            }
            Kind::TcPat => Middle::ours(&lab, "tc", room, instances, Filter::None)?,
            Kind::Filtered(Filtered { attach, filter, .. }) => {
                Middle::ours(&lab, attach, room, instances, *filter)?
            }
            Kind::Peer(peer) => Middle::Peer {
                _running: peer.start(&lab)?,
            },
        };
        let mut contender = Self {
            kind: kind.clone(),
            flows,
            lab,
            traffic: Some(traffic),
            middle,
        };
        contender.wait_until_it_forwards()?;
        Ok(contender)
    }

    /// Sends packets of all flows.
    pub fn send(&mut self, way: Way, amount: Amount, cores: &[usize]) -> Result<Sent> {
        let plan = self.kind.plan(&self.flows, way);
        self.traffic()?.send(way.from(), &plan, amount, cores)
    }

    /// Sends packets of other flows, one after the other.
    pub fn send_in_order(&mut self, flows: &Flows, way: Way, packets: u64) -> Result<Sent> {
        let plan = Plan {
            in_order: 1,
            ..self.kind.plan(flows, way)
        };
        let amount = Amount::Packets(packets);
        self.traffic()?
            .send(way.from(), &plan, amount, &[crate::CORE])
    }

    /// Sends packets of all flows while our controller does something until it is told that that is done.
    pub fn send_beside(
        &mut self,
        way: Way,
        amount: Amount,
        work: impl FnOnce(&mut Controller, &Pins, &AtomicBool) -> Result<()> + Send,
    ) -> Result<Sent> {
        let plan = self.kind.plan(&self.flows, way);
        let Middle::Ours { controller, pins } = &mut self.middle else {
            bail!("{} has no controller of ours", self.kind.label());
        };
        let traffic = self.traffic.as_mut().context(NO_TRAFFIC)?;
        let (device, done) = (&self.lab.device, AtomicBool::new(false));
        thread::scope(|scope| {
            let worker = scope.spawn(|| device.run(|| work(controller, pins, &done)));
            let sent = traffic.send(way.from(), &plan, amount, &[crate::CORE]);
            done.store(true, Relaxed);
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            sent
        })
    }

    /// Takes generator and sinks away, to make room for sockets.
    pub fn leave_the_ends(&mut self) {
        self.traffic = None;
    }

    fn traffic(&mut self) -> Result<&mut Traffic> {
        self.traffic.as_mut().context(NO_TRAFFIC)
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
            (Kind::Filtered(filtered), _) if !filtered.makes_sessions() => Ok(None),
            (_, Middle::Ours { pins, .. }) => {
                let mut count = 0;
                self.lab.device.run(|| {
                    let table = SessionTable::open(pins)?;
                    table.for_each(|key, _| count += u64::from(key.is_forward()));
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
        let first = self.kind.spread(1);
        let mut last = None;
        for _ in 0..TRIES {
            let sent = self.send_in_order(&first, Way::Out, 1)?;
            if sent.received == 1 {
                return Ok(());
            }
            last = Some(sent);
            thread::sleep(std::time::Duration::from_millis(100));
        }
        bail!("{} forwards nothing: {last:?}", self.kind.label())
    }
}
