//! Sends packets from one end of a lab and counts what arrives at the other. The programs that do it
//! are nat-ebpf/src/generator/, run by `BPF_PROG_RUN` in live-frames mode.
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod, TestRun as _,
    maps::{Array, PerCpuArray, PerCpuValues},
    programs::{ProgramError, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
    util::nr_cpus,
};

use nat_tests::netns::Namespace;

use crate::{
    core::{Quiet, hold_core},
    lab::{Lab, Side},
    plan::{Plan, Position, Seen},
};

/// Without the check sequence.
const FRAME: usize = 60;
/// Packets the kernel makes before it hands them on: as many as a NIC's driver takes at a time.
const BATCH: u32 = 64;
/// Packets of the call that finds out how long one takes.
const TRIAL: u32 = 65_536;

// SAFETY: plain integers without padding.
unsafe impl Pod for Plan {}
// SAFETY: as above.
unsafe impl Pod for Position {}
// SAFETY: as above.
unsafe impl Pod for Seen {}

/// A node and its interface.
pub type Place = (Namespace, &'static str);

/// The generator and the sinks of one lab.
pub struct Traffic {
    ebpf: Ebpf,
    /// The nodes inside and outside, and their interfaces.
    ends: [Place; 2],
    /// Packets per second of a core when it was last used: how many to send in a time.
    last: Option<f64>,
}

/// How much to send on each core.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Packets(u64),
    /// As many as take about that long.
    Time(Duration),
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub sent: u64,
    pub received: u64,
    /// Arrived, but not as they should have been.
    pub others: u64,
    /// Packets sent per second, of all cores.
    sent_per_second: f64,
}

impl Sent {
    /// Received packets per second, in millions.
    pub fn rate(&self) -> f64 {
        self.sent_per_second * (1.0 - self.loss()) / 1e6
    }

    /// Part of the packets that did not arrive.
    pub fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }
}

impl Traffic {
    /// Loads the programs and puts a sink on each end of the lab.
    pub fn new(lab: &Lab, object: &[u8]) -> Result<Self> {
        let ends = [Side::Inside, Side::Outside].map(|side| {
            let (node, device) = lab.end(side);
            (node.clone(), device)
        });
        Self::between(ends, object)
    }

    /// The same for ends inside and outside that are named.
    pub fn between(ends: [Place; 2], object: &[u8]) -> Result<Self> {
        let mut ebpf = Ebpf::load(object).context("loading the generator")?;
        program::<Xdp>(&mut ebpf, "generate")?.load()?;
        let sink: &mut Xdp = program(&mut ebpf, "sink")?;
        sink.load()?;
        for (node, device) in &ends {
            node.run(|| Ok(sink.attach(device, XdpMode::Driver)?))
                .with_context(|| format!("the sink on {device}"))?;
        }
        Ok(Self {
            ebpf,
            ends,
            last: None,
        })
    }

    /// Sends from that end, on these cores at once, and waits until all of it has been dealt with.
    pub fn send(
        &mut self,
        from: Side,
        plan: &Plan,
        amount: Amount,
        cores: &[usize],
    ) -> Result<Sent> {
        let mut plans: Array<_, Plan> = self.map("PLAN")?;
        plans.set(0, plan, 0)?;
        let mut positions: PerCpuArray<_, Position> = self.map("POSITION")?;
        positions.set(0, PerCpuValues::try_from(starts()?)?, 0)?;
        let before = self.seen()?;
        let [inside, outside] = &self.ends;
        let (node, device) = match from {
            Side::Inside => inside,
            Side::Outside => outside,
        };
        let index = node.index(device)?;
        let generator: &Xdp = program(&mut self.ebpf, "generate")?;
        let quiet = Quiet::except(cores);
        let last = self.last;
        let begin = std::sync::Barrier::new(cores.len());
        let one = |core: usize| {
            node.run(|| {
                let _held = hold_core(core)?;
                begin.wait();
                push(generator, index, amount, last)
            })
        };
        let outcomes: Vec<Result<(u64, f64)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = cores
                .iter()
                .map(|core| scope.spawn(|| one(*core)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        drop(quiet);
        let mut sum = Sent {
            sent: 0,
            received: 0,
            others: 0,
            sent_per_second: 0.0,
        };
        for outcome in outcomes {
            let (sent, per_second) = outcome?;
            if sent >= u64::from(TRIAL) {
                self.last = Some(per_second);
            }
            sum.sent += sent;
            sum.sent_per_second += per_second;
        }
        // Nothing is on its way any more but what another thread of the kernel took over.
        std::thread::sleep(Duration::from_millis(2));
        let after = self.seen()?;
        sum.received = after.expected - before.expected;
        sum.others = after.others - before.others;
        Ok(sum)
    }

    fn seen(&mut self) -> Result<Seen> {
        let map: PerCpuArray<_, Seen> = self.map("SEEN")?;
        let mut sum = Seen::default();
        for each in map.get(&0, 0)?.iter() {
            sum.expected += each.expected;
            sum.others += each.others;
        }
        Ok(sum)
    }

    fn map<'a, M>(&'a mut self, name: &str) -> Result<M>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .with_context(|| format!("the generator has no map {name}"))?;
        Ok(M::try_from(map)?)
    }
}

/// A program of the generator's object.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the generator's object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// Every core begins at the first flow, and draws numbers of its own.
fn starts() -> Result<Vec<Position>> {
    let cores = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
    let start = |core| Position {
        random: scattered(core as u64 + 1),
        ..Position::default()
    };
    Ok((0..cores).map(start).collect())
}

/// SplitMix64: neighbouring numbers become ones that have nothing to do with each other. The generator's
/// own steps are linear, and would keep what related starts have in common.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Sends so much; how many that were, and how many in a second.
fn push(generator: &Xdp, interface: u32, amount: Amount, last: Option<f64>) -> Result<(u64, f64)> {
    let mut trial = 0;
    let mut left = match (amount, last) {
        (Amount::Packets(packets), _) => packets,
        (Amount::Time(time), Some(rate)) => (time.as_secs_f64() * rate) as u64,
        (Amount::Time(time), None) => {
            trial = TRIAL;
            (time.as_secs_f64() / call(generator, interface, TRIAL)?) as u64
        }
    };
    let (mut sent, mut seconds) = (0, 0.0);
    while left > 0 {
        let packets = left.min(u64::from(u32::MAX)) as u32;
        seconds += call(generator, interface, packets)? * f64::from(packets);
        sent += u64::from(packets);
        left -= u64::from(packets);
    }
    Ok((sent + u64::from(trial), sent as f64 / seconds))
}

/// One call for so many packets; how many seconds each took, by the kernel's clock around its loop. The
/// call itself takes much longer: the memory of the frames is made before and taken apart afterwards.
fn call(generator: &Xdp, interface: u32, packets: u32) -> Result<f64> {
    let outcome = generator
        .test_run(TestRunOptions {
            data_in: Some(&[0; FRAME]),
            ctx_in: Some(&xdp_context(interface, FRAME)),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        })
        .context("running the generator")?;
    Ok(outcome.duration.as_secs_f64().max(1e-9))
}

/// `struct xdp_md`.
pub fn xdp_context(interface: u32, length: usize) -> Vec<u8> {
    [0, length as u32, 0, interface, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}
