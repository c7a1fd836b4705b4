//! What each way through the programs costs, without sending: many runs by `BPF_PROG_TEST_RUN`.
//!
//! A run changes its packet, and the next one would meet another. So a program of the generator puts the
//! packet back and calls ours; what that costs with nothing to call is taken off.
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, Pod, TestRun as _,
    maps::{Array, ProgramArray},
    programs::{Program, ProgramFd, SchedClassifier, TestRunOptions, Xdp},
};
use nat_userspace::loader::{TC_PROGRAM, XDP_PROGRAM};

use crate::{
    CORE, Run,
    contender::{Contender, Kind},
    core::hold_core,
    figures::{Row, Table},
    lab::{INSIDE, Side, UPLINK},
    packets::Path,
    plan::{TEMPLATE_WORDS, Template},
    traffic::{program, xdp_context},
};

const REPEAT: u32 = 200_000;

// SAFETY: plain integers without padding.
unsafe impl Pod for Template {}

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    run.say("setting up the programs");
    let mut contender = Contender::new(&Kind::XdpElastic, &run.object, 1000, 1000, 1)?;
    let (lab, controller, _) = contender.ours().context("it is ours")?;
    let ours = controller.programs();
    let mut harness = Ebpf::load(&run.object)?;
    let hooks = [Hook::Xdp, Hook::Tc];
    for hook in hooks {
        hook.load(&mut harness)?;
    }
    let paths = crate::packets::paths();
    let mut rows: Vec<Row> = paths
        .iter()
        .map(|path| Row::empty(path.name, hooks.len()))
        .collect();
    for round in 1..=run.rounds() {
        for (row, path) in rows.iter_mut().zip(&paths) {
            for (column, hook) in hooks.into_iter().enumerate() {
                let sample = lab.device.run(|| {
                    let _held = hold_core(CORE)?;
                    hook.sample(&mut harness, ours, path)
                });
                row.add(column, sample);
            }
        }
        run.say(&format!("ways through the programs, round {round}"));
    }
    Ok(vec![Table {
        name: "paths",
        title: "What a packet costs in the program".to_owned(),
        unit: "nanoseconds",
        columns: vec!["XDP".to_owned(), "TC".to_owned()],
        rows,
        reference: None,
        note: "BPF_PROG_TEST_RUN, one flow, everything in the caches; receiving and sending are not in it.",
    }])
}

#[derive(Clone, Copy)]
enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    /// The programs of the generator, and the array from which the first one calls.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Xdp => ["again_xdp", "nothing_xdp", "UNDER_XDP"],
            Self::Tc => ["again_tc", "nothing_tc", "UNDER_TC"],
        }
    }

    fn load(self, harness: &mut Ebpf) -> Result<()> {
        let [again, nothing, _] = self.names();
        for name in [again, nothing] {
            match self {
                Self::Xdp => program::<Xdp>(harness, name)?.load()?,
                Self::Tc => program::<SchedClassifier>(harness, name)?.load()?,
            }
        }
        Ok(())
    }

    /// How long the way of this packet takes, in nanoseconds.
    fn sample(self, harness: &mut Ebpf, ours: &Ebpf, path: &Path) -> Result<f64> {
        let [_, nothing, _] = self.names();
        let own = match self {
            Self::Xdp => XDP_PROGRAM,
            Self::Tc => TC_PROGRAM,
        };
        let own = fd(ours.program(own).context("our program")?)?;
        let nothing = fd(harness.program(nothing).context("no program")?)?;
        self.call(harness, &own)?;
        for (from, frame) in &path.before {
            self.run(harness, *from, frame, 1)?;
        }
        let (action, _) = self.run(harness, path.from, &path.frame, 1)?;
        let expected = path.end.action(matches!(self, Self::Xdp));
        ensure!(
            action == expected,
            "the program answers {action}, not {expected}"
        );
        let (_, with) = self.run(harness, path.from, &path.frame, REPEAT)?;
        self.call(harness, &nothing)?;
        let (_, without) = self.run(harness, path.from, &path.frame, REPEAT)?;
        Ok(with - without)
    }

    /// From now on that program is run.
    fn call(self, harness: &mut Ebpf, callee: &ProgramFd) -> Result<()> {
        let [.., array] = self.names();
        let map = harness.map_mut(array).context(array)?;
        Ok(ProgramArray::try_from(map)?.set(0, callee, 0)?)
    }

    /// What the program answers, and how many nanoseconds a run takes.
    fn run(self, harness: &mut Ebpf, from: Side, frame: &[u8], repeat: u32) -> Result<(u32, f64)> {
        let mut words = [0; TEMPLATE_WORDS];
        ensure!(
            frame.len() >= size_of::<Template>(),
            "the frame is too short"
        );
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into()?);
        }
        let map = harness.map_mut("TEMPLATE").context("TEMPLATE")?;
        Array::<_, Template>::try_from(map)?.set(0, Template { words }, 0)?;
        let interface = nix::net::if_::if_nametoindex(match from {
            Side::Inside => INSIDE,
            Side::Outside => UPLINK,
        })?;
        let context = match self {
            Self::Xdp => xdp_context(interface, frame.len()),
            Self::Tc => tc_context(interface),
        };
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let [again, ..] = self.names();
        let outcome = match self {
            Self::Xdp => program::<Xdp>(harness, again)?.test_run(options)?,
            Self::Tc => program::<SchedClassifier>(harness, again)?.test_run(options)?,
        };
        Ok((outcome.return_value, outcome.duration.as_nanos() as f64))
    }
}

fn fd(program: &Program) -> Result<ProgramFd> {
    let fd = match program {
        Program::Xdp(program) => program.fd()?,
        Program::SchedClassifier(program) => program.fd()?,
        other => anyhow::bail!("{:?} is none of ours", other.prog_type()),
    };
    Ok(fd.try_clone()?)
}

/// `struct __sk_buff` as far as the interface index.
fn tc_context(interface: u32) -> Vec<u8> {
    const INTERFACE_WORD: usize = 10;
    let mut words = [0u32; 48];
    words[INTERFACE_WORD] = interface;
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
