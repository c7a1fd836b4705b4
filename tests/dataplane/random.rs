//! Random traffic through random gateways and random VPCs, judged packet by packet; what fails is made small.

use std::{
    collections::HashMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use nat_tests::{
    model::{
        Actual, DropReason, Model, ModelConfig, Output, Profile, Side, Step, random_config,
        random_traffic, random_vpcs, shrink,
    },
    packets::{Packet, checksum_errors, join, protocol, translated_checksum_errors},
};

use crate::{
    bench::{self, Bench, Hook, Outcome},
    capture::Capture,
};

/// What is random besides the traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// The gateway of the classic picture.
    Gateways,
    /// Everything in VPCs, which is changed meanwhile.
    Vpcs,
}

impl Scene {
    /// Packets for each hook; `NAT_TEST_PACKETS` sets another number.
    fn packets(self) -> usize {
        let usual = match self {
            Self::Gateways => 1_000_000,
            Self::Vpcs => 200_000,
        };
        number("NAT_TEST_PACKETS").map_or(usual, |packets| packets as usize)
    }

    /// Of gateways the first one is the classic one.
    fn config(self, number: u64, is_first: bool) -> ModelConfig {
        match self {
            Self::Gateways if is_first => ModelConfig::classic(),
            Self::Gateways => random_config(number),
            Self::Vpcs => random_vpcs(number),
        }
    }

    /// Runs with one configuration.
    fn runs(self) -> usize {
        match self {
            Self::Gateways => 10,
            Self::Vpcs => 2,
        }
    }
}

/// `NAT_TEST_SEED`, or the same in every run: what fails is then the change's doing. Other seeds look
/// for more.
fn seed() -> u64 {
    number("NAT_TEST_SEED").unwrap_or(20_261_125)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Packets after which a NAT starts anew: what fails is looked for in so many.
const RUN: usize = 5000;

/// Compares on this hook, through random gateways.
pub fn gateways(hook: Hook) {
    compare(hook, Scene::Gateways);
}

/// Compares on this hook, in random VPCs.
pub fn vpcs(hook: Hook) {
    compare(hook, Scene::Vpcs);
}

fn compare(hook: Hook, scene: Scene) {
    let seed = seed();
    println!("NAT_TEST_SEED={seed}");
    let mut left = scene.packets();
    let mut number = seed;
    while left > 0 {
        let mut bench = Bench::of(hook, scene.config(number, number == seed));
        for run in 0..scene.runs().min(left.div_ceil(RUN)) {
            let count = RUN.min(left);
            left -= count;
            let traffic = number.wrapping_mul(1000).wrapping_add(run as u64);
            if let Err(failure) = bench.inside(|bench| run_random(bench, scene, traffic, count)) {
                explain(&mut bench, number, &failure);
            }
            bench.reset();
        }
        number = number.wrapping_add(1);
    }
}

/// A failed run: its steps, and the complaint about the last one.
struct Failure {
    steps: Vec<Step>,
    complaint: String,
}

fn run_random(bench: &mut Bench, scene: Scene, seed: u64, count: usize) -> Result<(), Failure> {
    let mut judge = Judge::new(bench);
    let mut traffic = random_traffic(seed, count, judge.model.config());
    if scene == Scene::Vpcs {
        traffic = traffic.with_changes();
    }
    let mut steps = Vec::new();
    while let Some(step) = traffic.next() {
        steps.push(step.clone());
        match judge.step(bench, &step) {
            Ok(None) => {}
            Ok(Some((ingress, sent, seen))) => traffic.observe(ingress, &sent, &seen),
            Err(complaint) => return Err(Failure { steps, complaint }),
        }
    }
    judge
        .tables(bench)
        .map_err(|complaint| Failure { steps, complaint })
}

/// How long a failure is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);

fn explain(bench: &mut Bench, seed: u64, failure: &Failure) -> ! {
    println!("NAT_TEST_SEED={seed}: {}", failure.complaint);
    let start = Instant::now();
    let mut last = failure.complaint.clone();
    let mut runs = 0;
    let steps = shrink(&failure.steps, |steps| {
        runs += 1;
        if start.elapsed() > SHRINKING {
            return false;
        }
        bench.reset();
        match bench.inside(|bench| replay(bench, steps)) {
            Ok(()) => false,
            Err(complaint) => {
                last = complaint;
                true
            }
        }
    });
    bench.reset();
    let mut text = bench::text_of(bench.model().config());
    let first = text.clone();
    let shown = steps
        .iter()
        .map(|step| format!("  {}", show(step, &mut text)));
    let shown: Vec<_> = shown.collect();
    panic!(
        "NAT_TEST_SEED={seed}: {last}\nafter {} steps ({runs} runs to find them):\n{}\nwith\n{first}",
        steps.len(),
        shown.join("\n"),
    );
}

fn replay(bench: &mut Bench, steps: &[Step]) -> Result<(), String> {
    let mut judge = Judge::new(bench);
    for step in steps {
        judge.step(bench, step)?;
    }
    judge.tables(bench)
}

/// A step; of another configuration the lines that are others than in `text`.
fn show(step: &Step, text: &mut String) -> String {
    match step {
        Step::Packet(side, frame) => {
            let bytes: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("packet from {side:?}: {bytes}")
        }
        Step::Apply(config) => {
            let before = std::mem::replace(text, bench::text_of(config));
            let pairs = before.lines().zip(text.lines());
            let others = pairs.filter(|(before, after)| before != after);
            let others: Vec<_> = others
                .map(|(before, after)| format!("\n    {before}\n    becomes {after}"))
                .collect();
            format!("another configuration: {}", others.join(""))
        }
        other => format!("{other:?}"),
    }
}

/// The reference NAT beside the programs.
pub struct Judge {
    model: Model,
    capture: Option<Capture>,
    /// When there was last no port.
    exhausted: HashMap<Scarce, Duration>,
}

/// How long a program remembers that there was no port: it then finds out a little late that one is
/// free again because a session has expired.
const REMEMBERED: Duration = Duration::from_nanos(9 << 27);

/// What there is no port for: of a gateway and a protocol and, with overloading, towards a remote end.
type Scarce = (usize, u8, Option<SocketAddrV4>);

/// A packet that was sent on: where it came in, and what became of it.
pub type Sent = (Side, Vec<u8>, Vec<u8>);

impl Judge {
    pub fn new(bench: &Bench) -> Self {
        Self {
            model: bench.model(),
            capture: (bench.hook() == Hook::Tc).then(|| bench.listen()),
            exhausted: HashMap::new(),
        }
    }

    /// Does the same with both; answers a packet that was sent on.
    pub fn step(&mut self, bench: &mut Bench, step: &Step) -> Result<Option<Sent>, String> {
        match step {
            Step::Advance(time) => bench.advance(*time),
            Step::Sweep => {
                // Two steps end a session, and the flow cache relies on the time between them. The
                // first one also ends what the last sweep has marked.
                let now = bench.now();
                bench.sweep_here();
                self.model
                    .forget_idle_where(now, now, |flow| bench.mapping(flow).is_none());
                bench.advance(Duration::from_secs(1));
                bench.sweep_here();
                self.model.forget_idle_where(now, bench.now(), |_| true);
            }
            Step::Packet(ingress, frame) if bench.hook().takes(frame) => {
                return self.packet(bench, *ingress, frame);
            }
            Step::Packet(..) => {}
            Step::Apply(config) => {
                bench.apply_here(config);
                self.model.apply(bench.now(), (**config).clone());
            }
        }
        Ok(None)
    }

    fn packet(
        &mut self,
        bench: &mut Bench,
        ingress: Side,
        frame: &[u8],
    ) -> Result<Option<Sent>, String> {
        if let Some(capture) = &self.capture {
            capture.drain();
        }
        let outcome = bench.run_here(ingress, frame);
        if let Outcome::Drop(reason) | Outcome::Refuse(reason, _) = &outcome
            && DropReason::from_name(reason).is_none()
        {
            return Err(format!("dropped for {reason}"));
        }
        let now = bench.now();
        let remote = self.remote(ingress, frame);
        let since = remote.and_then(|remote| self.exhausted.get(&remote));
        let may_lack_port = since.is_some_and(|since| now - *since < REMEMBERED);
        let exhausted = DropReason::PortExhausted.name();
        let mut lacks_port = false;
        let released = match &outcome {
            Outcome::Release | Outcome::Cut => {
                lacks_port = may_lack_port && bench.has_dropped(exhausted);
                Some(self.sent_in(bench, ingress, frame, lacks_port)?)
            }
            _ => None,
        };
        let each = released.iter().flatten().map(Outcome::as_actual);
        let actual = match &outcome {
            Outcome::Cut => Actual::Cut(each.collect()),
            Outcome::Release => Actual::Release(each.collect()),
            _ => outcome.as_actual(),
        };
        if lacks_port {
            self.model
                .check_without_port(now, ingress, frame, &actual)?;
            return Ok(None);
        }
        if outcome.verdict() == exhausted {
            let mut model = self.model.clone();
            let judged = model.check_with(now, ingress, frame, &actual, &mut |flow| {
                bench.mapping(flow)
            });
            return match judged {
                Ok(()) => {
                    self.model = model;
                    self.exhausted.extend(remote.map(|remote| (remote, now)));
                    Ok(None)
                }
                Err(_) if may_lack_port => self
                    .model
                    .check_without_port(now, ingress, frame, &actual)
                    .map(|()| None),
                Err(complaint) => Err(complaint),
            };
        }
        let others = self.model.after_a_change(ingress, frame);
        let mut check = |model: &mut Model| {
            model.check_with(now, ingress, frame, &actual, &mut |flow| {
                bench.mapping(flow)
            })
        };
        if let Err(complaint) = check(&mut self.model) {
            let mut others = others.into_iter();
            self.model = others
                .find_map(|mut other| check(&mut other).ok().map(|()| other))
                .ok_or(complaint)?;
        }
        let joined;
        let out = match (&outcome, &released) {
            (Outcome::Cut, Some(fragments)) => {
                let fragments = fragments.iter().map(Outcome::forwarded);
                joined = fragments.collect::<Option<Vec<_>>>().map(|all| join(&all));
                joined.as_deref()
            }
            (_, Some(released)) => released.first().and_then(Outcome::forwarded),
            _ => outcome.forwarded(),
        };
        let Some(out) = out else {
            return Ok(None);
        };
        // What came in wrong goes out wrong by as much; the model has checked that.
        if checksum_errors(frame).is_empty() {
            let errors = translated_checksum_errors(frame, out);
            if !errors.is_empty() {
                return Err(format!("{errors:?}"));
            }
        }
        if released.is_none() {
            bench::byte_slice_agrees(frame, out);
        }
        Ok(Some((ingress, frame.to_vec(), out.to_vec())))
    }

    /// Under what it is remembered that there is no port for this packet.
    fn remote(&self, ingress: Side, frame: &[u8]) -> Option<Scarce> {
        let packet = Packet::parse(frame).ok()?;
        let ip = packet.ipv4()?;
        let config = self.model.config();
        let vpc = |subnet: usize| config.subnets[subnet].vpc;
        let mut subnets = 0..config.subnets.len();
        let from =
            subnets.find(|&subnet| ingress == Side::Inside(config.subnets[subnet].interface))?;
        let mut gateways = config.gateways.iter();
        let number = gateways.position(|gateway| vpc(gateway.subnet) == vpc(from))?;
        let overloads = config.gateways[number].profile == Profile::Aws;
        let mut remote = ip.destination();
        if ip.protocol == protocol::ICMP {
            remote.set_port(0);
        }
        Some((number, ip.protocol, overloads.then_some(remote)))
    }

    /// What became of the fragments that a program sent in: what came out, put where the reference NAT
    /// forwards; of the rest only the kinds are known.
    fn sent_in(
        &mut self,
        bench: &mut Bench,
        ingress: Side,
        frame: &[u8],
        lacks_port: bool,
    ) -> Result<Vec<Outcome>, String> {
        let (now, mut model) = (bench.now(), self.model.clone());
        let expected = if lacks_port {
            model.handle_without_port(now, ingress, frame)
        } else {
            model.handle_as(now, ingress, frame, &mut |flow| bench.mapping(flow))?
        };
        let (Output::Release(expected) | Output::Cut(expected)) = expected else {
            return Err(format!("fragments were sent in, expected {expected:?}"));
        };
        let count = |kind: fn(&Output) -> bool| expected.iter().filter(|each| kind(each)).count();
        let dropped = count(|each| matches!(each, Output::Drop(_) | Output::Refuse { .. }));
        let come_out = count(|each| matches!(each, Output::Forward { .. } | Output::Refuse { .. }));
        let frames = self
            .capture
            .as_ref()
            .map(|capture| capture.frames(come_out))
            .unwrap_or_default();
        // Answers go back to the station that the packet came from.
        let (answers, sent): (Vec<_>, Vec<_>) = frames
            .into_iter()
            .partition(|out| out.get(..6) == frame.get(6..12));
        let (mut answers, mut sent) = (answers.into_iter(), sent.into_iter());
        let outcomes = expected
            .into_iter()
            .map(|output| match output {
                Output::Forward { .. } => Outcome::Forward(sent.next().unwrap_or_default()),
                Output::Refuse { reason, .. } => {
                    Outcome::Refuse(reason.name(), answers.next().unwrap_or_default())
                }
                Output::Drop(reason) => Outcome::Drop(reason.name()),
                _ => Outcome::Pass(frame.to_vec()),
            })
            .collect();
        bench.settle(dropped);
        Ok(outcomes)
    }

    /// Both know the same sessions, and what those hold is held by nobody else.
    pub fn tables(&mut self, bench: &mut Bench) -> Result<(), String> {
        // One leaves sessions that are over where they are for longer than the other.
        self.step(bench, &Step::Sweep)?;
        bench.table_equals(&self.model)
    }
}
