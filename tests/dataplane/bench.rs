//! A namespace with the interfaces, routes and neighbours of a configuration of the reference NAT, and the
//! programs loaded in it, to be run by `BPF_PROG_TEST_RUN` with any of the interfaces as ingress.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use aya::{
    Pod, TestRun as _,
    maps::{Array, HashMap, Map, MapError, PerCpuArray, PerCpuValues},
    programs::{Program, TestRunOptions},
    util::nr_cpus,
};
use nat_common::{
    address::{Address, Port},
    clock::{Tick, tick},
    flow_cache::{Hop, Line, Moment},
    icmp_error::{self, Translated},
    lifecycle::State,
    map_types::{
        Binding, Client, ClientKey, Gateway, GatewayTraffic, HeldFrame, MAX_GATEWAYS, Mark,
        SessionKey, Settings, names,
    },
    parse, translate,
};
use nat_tests::{
    model::{Actual, DropReason, Flow, Model, ModelConfig, NatGateway, Side},
    netns::Namespace,
    packets::{Ipv4, Mac, Packet},
};
use nat_userspace::{
    config::{self, Attach, Config},
    controller::{self, Controller},
    expiry::{self, Sweeper},
    leftovers::Leftovers,
    loader::{self, LoadOptions},
    pins::Pins,
    session_table::SessionTable,
    sessions::{self, SessionRecord},
    status,
};
use nix::net::if_::if_nametoindex;

use crate::{
    audit,
    capture::Capture,
    counts::Counts,
    network::{self, EDGE_MAC},
};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `nat_xdp`.
    Xdp,
    /// `nat_tc`.
    Tc,
}

impl Hook {
    fn program(self) -> &'static str {
        match self {
            Self::Xdp => loader::XDP_PROGRAM,
            Self::Tc => loader::TC_PROGRAM,
        }
    }

    /// The kernel makes a test packet of it: for TC it wants a whole IP header behind the Ethernet
    /// header that announces one.
    pub fn takes(self, frame: &[u8]) -> bool {
        let shortest = match (self, frame.get(12..14)) {
            (Self::Tc, Some([0x08, 0x00])) => 34,
            (Self::Tc, Some([0x86, 0xdd])) => 54,
            _ => 14,
        };
        frame.len() >= shortest
    }
}

/// What the program did with a packet.
#[derive(Debug)]
pub enum Outcome {
    Pass(Vec<u8>),
    Drop(&'static str),
    /// Dropped for this reason, and answered.
    Refuse(&'static str, Vec<u8>),
    Forward(Vec<u8>),
    Reply(Vec<u8>),
    /// Waits for the first fragment of its datagram.
    Hold,
    /// Cut, and its fragments sent in.
    Cut,
    /// Sent in once more, with those that waited for it.
    Release,
}

impl Outcome {
    pub fn as_actual(&self) -> Actual<'_> {
        let known = |reason: &str| {
            DropReason::from_name(reason).unwrap_or_else(|| panic!("dropped for {reason}"))
        };
        match self {
            Self::Pass(frame) => Actual::Pass(frame),
            Self::Drop(reason) => Actual::Drop(known(reason)),
            Self::Refuse(reason, reply) => Actual::Refuse {
                reason: known(reason),
                reply,
            },
            Self::Forward(frame) => {
                // At TC the kernel writes the Ethernet header, behind the program.
                let place = network::place(frame);
                Actual::Forward {
                    egress: place.map(|(side, _)| side),
                    next_hop: place.and_then(|(side, address)| {
                        matches!(side, Side::Inside(_)).then_some(address)
                    }),
                    frame,
                }
            }
            Self::Reply(frame) => Actual::Reply(frame),
            Self::Hold => Actual::Hold,
            Self::Release | Self::Cut => panic!("what was sent in has to be looked for"),
        }
    }

    pub fn forwarded(&self) -> Option<&[u8]> {
        match self {
            Self::Forward(frame) => Some(frame),
            _ => None,
        }
    }

    /// `pass`, `forward`, `reply`, `hold`, `cut`, `release` or the drop reason.
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Forward(_) => "forward",
            Self::Reply(_) => "reply",
            Self::Hold => "hold",
            Self::Cut => "cut",
            Self::Release => "release",
            Self::Drop(reason) | Self::Refuse(reason, _) => reason,
        }
    }
}

/// See the module.
pub struct Bench {
    edge: Namespace,
    wire: Namespace,
    controller: Controller,
    pins: Pins,
    hook: Hook,
    /// What it began with, and what holds now.
    first: ModelConfig,
    config: ModelConfig,
    capacity: u32,
    counts: Counts,
    now: Duration,
}

/// The tests' clock starts here: late enough for everything to be long ago.
const START: Duration = Duration::from_secs(1_000_000);

impl Bench {
    pub fn new(hook: Hook) -> Self {
        Self::build(hook, 262_144, ModelConfig::classic(), true)
    }

    /// With a session table of this capacity, and another NAT gateway than the classic one.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn with_capacity(hook: Hook, capacity: u32, gateway: NatGateway) -> Self {
        let config = ModelConfig {
            gateways: vec![gateway],
            ..ModelConfig::classic()
        };
        Self::build(hook, capacity, config, true)
    }

    /// With another NAT gateway than the classic one.
    pub fn with_gateway(hook: Hook, gateway: NatGateway) -> Self {
        let config = ModelConfig {
            gateways: vec![gateway],
            ..ModelConfig::classic()
        };
        Self::of(hook, config)
    }

    /// The classic picture with the gateway and the node's settings of `config`.
    pub fn of(hook: Hook, config: ModelConfig) -> Self {
        Self::build(hook, 65_536, config, true)
    }

    /// On a host that did not forward before.
    pub fn on_closed_host(hook: Hook) -> Self {
        Self::build(hook, 1024, ModelConfig::classic(), false)
    }

    fn build(hook: Hook, capacity: u32, config: ModelConfig, forwards: bool) -> Self {
        let config = ModelConfig {
            uplink_mac: EDGE_MAC,
            holds_fragments: hook == Hook::Tc,
            ..config
        };
        let (edge, wire) = network::build(&config, forwards);
        let parsed = parsed(hook, &config, capacity);
        let pins = Pins::new("/sys/fs/bpf/nat");
        let options = LoadOptions {
            log_level: 0,
            test_clock: true,
            ..LoadOptions::default()
        };
        let (controller, counts) = edge
            .run(|| {
                let mut controller = controller::start(&parsed, &pins, options)?;
                // On both sides, for `fix_secrets`.
                controller.renew()?;
                Ok((controller, Counts::new(&pins)?))
            })
            .unwrap();
        let mut bench = Self {
            edge,
            wire,
            controller,
            pins,
            hook,
            first: config.clone(),
            config,
            capacity,
            counts,
            now: START,
        };
        bench.advance(Duration::ZERO);
        bench.fix_secrets();
        bench
    }

    /// The reference NAT of the same configuration.
    pub fn model(&self) -> Model {
        Model::new(self.config.clone())
    }

    /// Another configuration comes. In a thread of the programs' namespace.
    pub fn apply_here(&mut self, config: &ModelConfig) {
        self.controller
            .reload(&parsed(self.hook, config, self.capacity))
            .unwrap();
        self.config = config.clone();
    }

    /// The tests' clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
        let now = tick(self.now.as_nanos() as u64);
        self.map::<Array<_, Tick>>("CLOCK").set(0, now, 0).unwrap();
    }

    /// The same choices of ports every time.
    fn fix_secrets(&mut self) {
        let count = self.config.gateways.len() as u32;
        let mut gateways = self.map::<Array<_, Gateway>>(names::GATEWAYS);
        for number in (0..count).flat_map(|number| [number, MAX_GATEWAYS + number]) {
            let gateway = gateways.get(&number, 0).unwrap();
            let secret = [1, 2];
            gateways
                .set(number, Gateway { secret, ..gateway }, 0)
                .unwrap();
        }
    }

    fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.controller.programs().map_mut(name).unwrap();
        M::try_from(map).unwrap()
    }

    /// Forgets all sessions and fragments, and turns the clock and the configuration back.
    pub fn reset(&mut self) {
        let edge = self.edge.clone();
        edge.run(|| {
            if self.config != self.first {
                self.apply_here(&self.first.clone());
            }
            self.clear_sessions();
            let is_dynamic = |binding: &Binding| !binding.is_static();
            self.clear::<SessionKey, Binding>(names::BINDINGS, is_dynamic);
            self.clear::<SessionKey, Binding>(names::BOUND, is_dynamic);
            self.clear::<ClientKey, Client>(names::CLIENTS, |_| true);
            self.clear::<[u8; 16], u32>("EXHAUSTED", |_| true);
            self.clear::<[u8; 16], [u8; 64]>("TAKEN_PORTS", |_| true);
            self.controller.renew()?;
            self.clear::<[u8; 24], [u8; 32]>("FRAGMENTS", |_| true);
            let mut ticket = self.map::<PerCpuArray<_, [u8; 48]>>("TICKET");
            let empty = vec![[0; 48]; nr_cpus().map_err(|(_, error)| error)?];
            ticket.set(0, PerCpuValues::try_from(empty)?, 0)?;
            let mut held = self.map::<Array<_, [u8; size_of::<HeldFrame>()]>>("HELD");
            for index in 0..held.len() {
                if held.get(&index, 0)?[0] != 0 {
                    held.set(index, [0; size_of::<HeldFrame>()], 0)?;
                }
            }
            let mut identifications = self.map::<Array<_, u64>>("IDENTIFICATIONS");
            for index in 0..identifications.len() {
                identifications.set(index, 0, 0)?;
            }
            Ok(())
        })
        .unwrap();
        self.now = START;
        self.advance(Duration::ZERO);
    }

    fn clear_sessions(&self) {
        let table = SessionTable::open(&self.pins).unwrap();
        table.for_each(|key, _| assert!(table.remove(key)));
    }

    fn clear<K: Pod, V: Pod>(&mut self, name: &str, which: impl Fn(&V) -> bool) {
        let mut map = self.map::<HashMap<_, K, V>>(name);
        let keys: Vec<K> = map
            .iter()
            .flatten()
            .filter(|(_, value)| which(value))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            map.remove(&key).unwrap();
        }
    }

    /// Runs `work` in the namespace of the programs, where [`Self::run_here`] works.
    pub fn inside<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> T + Send) -> T {
        let edge = self.edge.clone();
        edge.run(|| Ok(work(self))).unwrap()
    }

    /// Takes an interface and its routes away.
    pub fn take_down(&self, side: Side) {
        let index = self.edge.index(network::device(side)).unwrap();
        self.edge
            .netlink(|handle| async move {
                let down = rtnetlink::LinkUnspec::new_with_index(index).down().build();
                handle.link().set(down).execute().await
            })
            .unwrap();
    }

    /// A neighbour on that side gets another MAC address.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn move_neighbour(&self, side: Side, address: Ipv4Addr, mac: Mac) {
        network::move_neighbour(&self.edge, side, address, mac);
    }

    /// The host routes what `source` sends by another router.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn route_by_source(&self, source: Ipv4Addr, router: Ipv4Addr) {
        network::route_by_source(&self.edge, source, router);
    }

    /// As if each CPU had so many next hops in use that there is room for no other.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn take_all_hops(&mut self) {
        let now = tick(self.now.as_nanos() as u64);
        let hop = Hop {
            half_second: Moment::at(now, 0, &Settings::default()).half_second,
            mtu: u16::MAX,
            ..Hop::default()
        };
        let mut hops = self.map::<Array<_, Hop>>(names::HOP_CACHE);
        for number in 0..hops.len() {
            hops.set(number, hop, 0).unwrap();
        }
    }

    /// Next hops that lines have been told.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn hops(&mut self) -> usize {
        let hops = self.map::<Array<_, Hop>>(names::HOP_CACHE);
        hops.iter().flatten().filter(|hop| hop.egress != 0).count()
    }

    /// Runs the program on one packet.
    pub fn run(&mut self, ingress: Side, frame: &[u8]) -> Outcome {
        self.inside(|bench| bench.run_here(ingress, frame))
    }

    /// As [`Self::run`], in a thread of the programs' namespace.
    pub fn run_here(&mut self, ingress: Side, frame: &[u8]) -> Outcome {
        self.timed_here(ingress, frame).0
    }

    /// As [`Self::run_here`], with the time that the kernel says the program took.
    pub fn timed_here(&mut self, ingress: Side, frame: &[u8]) -> (Outcome, Duration) {
        let index = if_nametoindex(network::device(ingress)).unwrap();
        let hook = self.hook;
        let program = self.controller.programs().program(hook.program()).unwrap();
        let (action, out, time) = timed_test_run(program, hook, index, frame)
            .unwrap_or_else(|error| panic!("{error:#}: {frame:02x?}"));
        (self.outcome(action, frame, out), time)
    }

    /// Runs the program on one packet and says what [`Outcome::verdict`] says.
    pub fn run_for_verdict(&mut self, ingress: Side, frame: &[u8]) -> &'static str {
        self.run(ingress, frame).verdict()
    }

    /// Runs all packets on several CPUs at once; answers the forwarded frames of each.
    pub fn run_on_cpus(
        &mut self,
        cpus: usize,
        ingress: Side,
        packets: &[Vec<u8>],
    ) -> Vec<Vec<Vec<u8>>> {
        let index = self.edge.index(network::device(ingress)).unwrap();
        let (hook, edge) = (self.hook, &self.edge);
        let ebpf = self.controller.programs();
        let program = ebpf.program(hook.program()).unwrap();
        let start = std::sync::Barrier::new(cpus);
        let one = || {
            edge.run(|| {
                start.wait();
                packets
                    .iter()
                    .map(|packet| {
                        let (action, out) = test_run(program, hook, index, packet)?;
                        assert!([4, 7].contains(&action), "not forwarded: {action}");
                        Ok(out)
                    })
                    .collect()
            })
            .unwrap()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cpus).map(|_| scope.spawn(one)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    }

    /// One sweep of the controller; answers how many sessions it ended.
    pub fn sweep(&mut self) -> u32 {
        self.inside(Self::sweep_here)
    }

    /// As [`Self::sweep`], in a thread of the programs' namespace.
    pub fn sweep_here(&mut self) -> u32 {
        let now = tick(self.now.as_nanos() as u64);
        let mut sweeper = Sweeper::new(&self.pins).unwrap();
        sweeper.sweep(self.controller.programs(), now).unwrap()
    }

    /// The controller's look for entries that removals have left.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn remove_leftovers(&mut self, leftovers: &mut Leftovers) {
        self.inside(|bench| {
            let now = tick(bench.now.as_nanos() as u64);
            leftovers.remove(&bench.pins, &bench.table(), now).unwrap();
        });
    }

    /// As a removal leaves them that the kernel refuses.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn mark_all_reverse_halves_dead(&mut self) {
        self.inside(|bench| {
            let table = SessionTable::open(&bench.pins).unwrap();
            table.for_each(|key, half| {
                if !key.is_forward() {
                    let dead = Mark::new(key.mark(State::Dead), half.created()).0;
                    table.remove(key);
                    let mut half = *half;
                    half.mark = dead;
                    table.insert(key, &half).unwrap();
                }
            });
        });
    }

    /// Ends the session of a flow at once; false when there is none. In a thread of the programs'
    /// namespace.
    pub fn end_here(&mut self, flow: &Flow) -> bool {
        expiry::end(self.controller.programs(), &[forward_key(flow)]).unwrap() == 1
    }

    fn outcome(&mut self, action: u32, frame: &[u8], out: Vec<u8>) -> Outcome {
        const XDP: [u32; 3] = [2, 1, 4];
        const TC: [u32; 3] = [3, 2, 7];
        let [pass, drop, redirect] = if self.hook == Hook::Xdp { XDP } else { TC };
        let is_arp = out.get(12..14) == Some(&[8, 6]);
        // An answer goes to the station that the packet came from.
        let is_answer = frame.len() >= 12 && out.get(..6) == frame.get(6..12);
        if action == pass {
            Outcome::Pass(out)
        } else if action == drop {
            self.counts.change()
        } else if action == redirect && is_arp {
            Outcome::Reply(out)
        } else if action == redirect && is_answer {
            match self.counts.change() {
                Outcome::Drop(reason) => Outcome::Refuse(reason, out),
                other => panic!("an answer to a packet that was not dropped: {other:?}"),
            }
        } else if action == redirect {
            Outcome::Forward(out)
        } else {
            panic!("unexpected action {action}");
        }
    }

    /// What flows are translated to.
    pub fn mapping(&mut self, flow: &Flow) -> Option<SocketAddrV4> {
        let table = self.table();
        let session = table.get(&forward_key(flow))?;
        Some(SocketAddrV4::new(
            session.mapped_address().into(),
            session.mapped_port().get(),
        ))
    }

    /// Listens at the far ends of the interfaces.
    pub fn listen(&self) -> Capture {
        self.wire
            .run(|| Capture::new(network::devices(&self.first)))
            .unwrap()
    }

    /// Whether a packet that a program sent in was dropped for this reason.
    pub fn has_dropped(&self, reason: &str) -> bool {
        // Softirqs come late when the machine is busy.
        std::thread::sleep(Duration::from_millis(20));
        self.counts.has_more(reason)
    }

    /// Waits until so many more packets were dropped, which then do not count for the next one.
    pub fn settle(&mut self, dropped: usize) {
        self.counts.settle(dropped as u64);
    }

    pub fn drops(&self, reason: &str) -> u64 {
        let status = self.edge.run(|| Ok(status::read(&self.pins)?)).unwrap();
        status.drops.get(reason).copied().unwrap_or(0)
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.edge
            .run(|| Ok(status::read(&self.pins)?))
            .unwrap()
            .counters[name]
    }

    pub fn sessions(&self) -> usize {
        self.count(SessionKey::is_forward)
    }

    /// All sessions as `nat sessions` shows them.
    pub fn records(&self) -> Vec<SessionRecord> {
        self.edge.run(|| Ok(sessions::read(&self.pins)?)).unwrap()
    }

    /// What the halves of all sessions have counted themselves: outward and inward.
    pub fn halves_counted(&self) -> (u64, u64) {
        let (mut outward, mut inward) = (0, 0);
        self.table().for_each(|key, half| {
            let sum = if key.is_forward() {
                &mut outward
            } else {
                &mut inward
            };
            *sum += half.packets();
        });
        (outward, inward)
    }

    /// Packets out and in that the NAT gateways know of.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn gateways_counted(&mut self) -> (u64, u64) {
        let name = names::GATEWAY_TRAFFIC;
        let traffic = self.map::<PerCpuArray<_, GatewayTraffic>>(name);
        let gateways = traffic.iter().flatten();
        gateways.fold((0, 0), |(out, back), cpus| {
            let sum = GatewayTraffic::sum(cpus.iter());
            (out + sum.packets_out, back + sum.packets_in)
        })
    }

    /// As many changes of policy do.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn set_generation_of_lines(&mut self, generation: u16) {
        const USE: usize = 48;
        const GENERATION: usize = 20;
        let mut usage = self.map::<PerCpuArray<_, [u8; USE]>>("FLOW_CACHE_USE");
        let before = usage.get(&0, 0).unwrap();
        let values = before.iter().map(|usage| {
            let mut usage = *usage;
            usage[GENERATION..][..4].copy_from_slice(&u32::from(generation).to_ne_bytes());
            usage
        });
        let values = PerCpuValues::try_from(values.collect::<Vec<_>>()).unwrap();
        usage.set(0, values, 0).unwrap();
    }

    /// Some CPU has a line for this flow, whether its time is over or not.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn has_line(&mut self, source: SocketAddrV4, destination: SocketAddrV4) -> bool {
        let lines = self.map::<Array<_, Line>>("FLOW_CACHE");
        lines.iter().flatten().any(|line| {
            let flow = line.key.flow();
            let end = |address: Address, port: Port| SocketAddrV4::new(address.into(), port.get());
            line.generation != 0
                && end(flow.source, flow.source_port) == source
                && end(flow.destination, flow.destination_port) == destination
        })
    }

    /// Flows that have a line, each counted once.
    #[allow(dead_code, reason = "for tests/dataplane.rs")]
    pub fn lines(&mut self) -> usize {
        let lines = self.map::<Array<_, Line>>("FLOW_CACHE");
        let live = lines.iter().flatten().filter(|line| line.generation != 0);
        let keys = live.map(|line| (line.key.flow(), line.key.interface()));
        keys.collect::<std::collections::HashSet<_>>().len()
    }

    /// Makes the flow cache void, as a new policy does.
    pub fn void_lines(&mut self) {
        let edge = self.edge.clone();
        edge.run(|| Ok(self.controller.renew()?)).unwrap();
    }

    pub fn reverse_sessions(&self) -> usize {
        self.count(|key| !key.is_forward())
    }

    fn count(&self, which: impl Fn(&SessionKey) -> bool) -> usize {
        let mut count = 0;
        self.table()
            .for_each(|key, _| count += usize::from(which(key)));
        count
    }

    fn table(&self) -> SessionTable {
        self.edge
            .run(|| Ok(SessionTable::open(&self.pins)?))
            .unwrap()
    }

    /// The table holds exactly the model's sessions, and what they hold is held by nobody else.
    pub fn table_equals(&self, model: &Model) -> Result<(), String> {
        let mut here = Vec::new();
        self.table().for_each(|key, half| {
            if key.is_forward() {
                here.push((*key, half.mapped_address(), half.mapped_port()));
            }
        });
        let mut here: Vec<_> = here
            .into_iter()
            .map(|(key, address, port)| {
                let to = SocketAddrV4::new(address.into(), port.get());
                (described(&key), to)
            })
            .collect();
        let mut there: Vec<_> = model
            .sessions()
            .iter()
            .map(|session| (described(&forward_key(&session.flow)), session.public))
            .collect();
        here.sort_unstable();
        there.sort_unstable();
        if here != there {
            let only = |these: &[_], others: &[_]| {
                let mut only: Vec<_> = these.to_vec();
                only.retain(|one| !others.contains(one));
                only
            };
            return Err(format!(
                "sessions {:?}\nexpected {:?}",
                only(&here, &there),
                only(&there, &here)
            ));
        }
        audit::holders(&self.pins)
    }

    pub fn hook(&self) -> Hook {
        self.hook
    }
}

/// The configuration file.
pub fn text_of(config: &ModelConfig) -> String {
    let node = config.node_toml();
    let vpcs = config.vpcs_toml(|number| network::device(Side::Inside(number)).to_owned());
    let uplink = network::UPLINK;
    format!("[node]\nuplink = [\"{uplink}\"]\nattach = \"xdp\"\n{node}{vpcs}")
}

fn parsed(hook: Hook, config: &ModelConfig, capacity: u32) -> Config {
    let text = text_of(config);
    let parsed = config::parse("bench", &text);
    let mut parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
    parsed.node.max_sessions = capacity;
    // The programs of XDP are no use to those of TC, and take as long to load.
    parsed.node.attach = match hook {
        Hook::Xdp => Attach::Xdp,
        Hook::Tc => Attach::Tc,
    };
    // The reference NAT has no services.
    parsed.node.metadata = false;
    for vpc in &mut parsed.vpcs {
        vpc.dns = false;
    }
    parsed
}

fn forward_key(flow: &Flow) -> SessionKey {
    let mut scope = flow.vpc as u16 + 1;
    if flow.to_instance {
        scope |= SessionKey::VIA_INSTANCE;
    }
    let flow = nat_common::flow::Flow {
        source: Address::from(*flow.inside.ip()),
        destination: Address::from(*flow.remote.ip()),
        source_port: Port::new(flow.inside.port()),
        destination_port: Port::new(flow.remote.port()),
        protocol: flow.protocol,
    };
    SessionKey::forward(&flow, scope)
}

/// Scope, protocol, source and destination of a flow's key.
fn described(key: &SessionKey) -> (u16, u8, SocketAddrV4, SocketAddrV4) {
    let flow = key.flow();
    let at = |address: Address, port: Port| SocketAddrV4::new(address.into(), port.get());
    (
        key.scope(),
        flow.protocol,
        at(flow.source, flow.source_port),
        at(flow.destination, flow.destination_port),
    )
}

fn test_run(
    program: &Program,
    hook: Hook,
    ingress: u32,
    frame: &[u8],
) -> anyhow::Result<(u32, Vec<u8>)> {
    let (action, out, _) = timed_test_run(program, hook, ingress, frame)?;
    Ok((action, out))
}

fn timed_test_run(
    program: &Program,
    hook: Hook,
    ingress: u32,
    frame: &[u8],
) -> anyhow::Result<(u32, Vec<u8>, Duration)> {
    // A program may make another packet of it.
    let mut out = vec![0; frame.len() + 4096];
    let context = match hook {
        Hook::Xdp => xdp_context(ingress, frame.len()),
        Hook::Tc => tc_context(ingress),
    };
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    let result = match program {
        Program::Xdp(program) => program.test_run(options)?,
        Program::SchedClassifier(program) => program.test_run(options)?,
        other => anyhow::bail!("{:?} is none of ours", other.prog_type()),
    };
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out, result.duration))
}

/// `struct xdp_md`.
fn xdp_context(interface: u32, length: usize) -> Vec<u8> {
    [0, length as u32, 0, interface, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// `struct __sk_buff` as far as the interface index.
fn tc_context(interface: u32) -> Vec<u8> {
    const INTERFACE_WORD: usize = 10;
    let mut words = [0u32; 48];
    words[INTERFACE_WORD] = interface;
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Source of a translated packet; the identifier stands for the port of ICMP.
pub fn source(frame: &[u8]) -> SocketAddrV4 {
    ip(frame).source()
}

fn ip(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// The same translation on a byte slice gives the same IP packet.
pub fn byte_slice_agrees(before: &[u8], after: &[u8]) {
    let mut slice = before.to_vec();
    let parsed = parse::ipv4(slice.as_slice()).unwrap();
    // Of fragments it may be another one; which, is the program's choice.
    let identification = u16::from_ne_bytes([after[18], after[19]]);
    if slice[18..20] != after[18..20] {
        translate::renumber(slice.as_mut_slice(), identification).unwrap();
    }
    let to = parse::ipv4(after).unwrap();
    let ends = |flow: &nat_common::flow::Flow| (flow.source, flow.destination);
    // Within the VPC nobody looks at what an error quotes.
    if parsed.is_error() && ends(&parsed.flow) != ends(&to.flow) {
        let before = icmp_error::quote(slice.as_slice(), &parsed).unwrap();
        let translated = Translated {
            source: to.flow.source,
            destination: to.flow.destination,
            quoted: icmp_error::quote(after, &to).unwrap().flow,
        };
        icmp_error::apply(slice.as_mut_slice(), &parsed, &before, &translated).unwrap();
    } else {
        translate::apply(slice.as_mut_slice(), &parsed, &to.flow).unwrap();
    }
    assert_eq!(slice[14..], after[14..], "byte slice and program differ");
}
