//! Runs a scenario under many schedules.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use shuttle::{
    Config, FailurePersistence, Runner,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler},
    thread,
};

use super::{
    cpu::{Tally, World},
    setup::Setup,
};

const DEFAULT_SEED: u64 = 20_260_101;
/// Changes of priority in a schedule that otherwise lets one CPU run as long as it can.
const DEPTH: usize = 4;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// What happens to an empty world.
pub type Scenario = fn(&Arc<World>);

/// Runs `scenario` under `schedules` schedules of each of two kinds: those that change between CPUs at
/// every chance, and those that rarely do.
pub fn explore(name: &str, schedules: usize, setup: Setup, scenario: Scenario) {
    let sum = Arc::new(Mutex::new(Tally::default()));
    let total = Arc::clone(&sum);
    let run = move || {
        let world = Arc::new(World::new(setup));
        scenario(&world);
        world.audit();
        world.drain();
        world.refill();
        let mut total = total.lock().expect("nobody panicked");
        total.add(&world);
    };
    let title = format!("{name}, {:?}, protocol {}", setup.profile, setup.protocol);
    repeat(&title, &setup, schedules, run);
    println!("{:?}", sum.lock().expect("nobody panicked"));
}

/// Runs `run` under `schedules` schedules of each kind, or under the one that is to be replayed.
pub fn repeat(
    title: &str,
    setup: &dyn Debug,
    schedules: usize,
    run: impl Fn() + Clone + Send + Sync + 'static,
) {
    if let Ok(file) = std::env::var("NAT_INTERLEAVINGS_REPLAY") {
        if title == std::env::var("NAT_INTERLEAVINGS_TITLE").unwrap_or_default() {
            let scheduler = ReplayScheduler::new_from_file(file).expect("a schedule");
            Runner::new(scheduler, config()).run(run);
        }
        return;
    }
    let schedules = schedules * number("NAT_INTERLEAVINGS", 1) as usize;
    let seed = number("NAT_INTERLEAVINGS_SEED", DEFAULT_SEED);
    println!("{title}: seed {seed}, {setup:?}");
    let random = RandomScheduler::new_from_seed(seed, schedules);
    Runner::new(random, config()).run(run.clone());
    let rare = PctScheduler::new_from_seed(seed, DEPTH, schedules);
    Runner::new(rare, config()).run(run);
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::File(Some(env!("CARGO_TARGET_TMPDIR").into()));
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    config
}

/// Any operations on 2 to 4 CPUs, twice, after some that happen one after the other.
pub fn anything(world: &Arc<World>) {
    for _ in 0..thread_rng().gen_range(0..8) {
        world.anything();
    }
    for _ in 0..2 {
        let cpus = thread_rng().gen_range(2..=4);
        together(world, cpus, |world, _| {
            for _ in 0..thread_rng().gen_range(1..=4) {
                world.anything();
            }
        });
        world.audit();
    }
}

/// Runs `work` on several CPUs at once.
pub fn together(world: &Arc<World>, cpus: usize, work: fn(&World, usize)) {
    let threads: Vec<_> = (0..cpus)
        .map(|cpu| {
            let world = Arc::clone(world);
            thread::spawn(move || work(&world, cpu))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a CPU goes on");
    }
}

impl Tally {
    fn add(&mut self, world: &World) {
        let tally = world.ledger.borrow().tally;
        self.schedules += 1;
        self.steps += world.tables.steps();
        self.operations += tally.operations;
        self.carried += tally.carried;
        self.answers += tally.answers;
        self.made += tally.made;
        self.let_in += tally.let_in;
        self.exhausted += tally.exhausted;
        self.quota += tally.quota;
        self.full += tally.full;
        self.race += tally.race;
        self.ended_in_place += tally.ended_in_place;
        self.swept += tally.swept;
        self.rolled_back += tally.rolled_back;
        self.rolled_back_under_a_packet += tally.rolled_back_under_a_packet;
    }
}
