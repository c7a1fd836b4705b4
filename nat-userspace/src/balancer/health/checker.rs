//! Checks many targets, each at its time.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::watch,
    task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    check::{Check, Failure, perform},
    state::{Health, State},
};
use crate::balancer::Dial;

/// Checks under way at once; others wait for their turn, the one that is due longest first.
pub const AT_ONCE: usize = 512;
/// Nobody is checked more often, whatever is asked for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// All targets by their ids.
pub type States = BTreeMap<u64, State>;

/// Checks targets until it is dropped.
#[derive(Debug)]
pub struct Checker {
    checks: watch::Sender<Vec<Check>>,
    states: watch::Receiver<States>,
    task: JoinHandle<()>,
}

impl Checker {
    /// One that checks nobody yet, as a task of the runtime that this is called in.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        let (checks, receiver) = watch::channel(Vec::new());
        let (sender, states) = watch::channel(States::new());
        let rounds = Rounds {
            dial,
            targets: FxHashMap::default(),
            due: BTreeSet::new(),
            running: JoinSet::new(),
            states: sender,
        };
        Self {
            checks,
            states,
            task: tokio::spawn(rounds.run(receiver)),
        }
    }

    /// Checks these from now on, and nobody else. A target that was there before keeps its state; a new one
    /// is checked at once, and once more before its interval is over, at a random time that spreads targets.
    pub fn set(&self, checks: Vec<Check>) {
        self.checks.send_replace(checks);
    }

    /// The states of the targets, which soon after [`Checker::set`] are those that were set. They are seen to
    /// have changed when one of them is another than before, not after each check.
    pub fn states(&self) -> watch::Receiver<States> {
        self.states.clone()
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whom, and what came of it.
type Checked = (u64, Result<(), Failure>);

struct Target {
    check: Check,
    health: Health,
    /// When the next check is due; in [`Rounds::due`] unless one is under way.
    due: Instant,
    /// When the last check began.
    started: Instant,
    running: Option<AbortHandle>,
    is_new: bool,
}

struct Rounds {
    dial: Arc<dyn Dial>,
    targets: FxHashMap<u64, Target>,
    due: BTreeSet<(Instant, u64)>,
    running: JoinSet<Checked>,
    states: watch::Sender<States>,
}

impl Rounds {
    async fn run(mut self, mut checks: watch::Receiver<Vec<Check>>) {
        loop {
            self.start();
            let has_room = self.running.len() < AT_ONCE;
            let next = self.due.first().filter(|_| has_room).map(|(at, _)| *at);
            tokio::select! {
                changed = checks.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let checks = checks.borrow_and_update().clone();
                    self.set(checks);
                }
                Some(ended) = self.running.join_next_with_id() => self.end(ended),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn set(&mut self, checks: Vec<Check>) {
        let now = Instant::now();
        let checks: FxHashMap<u64, Check> = checks.into_iter().map(|c| (c.id, c)).collect();
        let mut before = mem::take(&mut self.targets);
        for (id, check) in checks {
            let target = match before.remove(&id) {
                Some(mut target) if target.check.address == check.address => {
                    if target.running.is_none() {
                        self.due.remove(&(target.due, id));
                        // It may have been far away.
                        target.due = target.due.min(now + check.interval);
                    }
                    Target { check, ..target }
                }
                other => {
                    other.into_iter().for_each(|gone| self.forget(&gone));
                    Target::new(check, now)
                }
            };
            if target.running.is_none() {
                self.due.insert((target.due, id));
            }
            self.targets.insert(id, target);
        }
        before.values().for_each(|gone| self.forget(gone));
        let targets = &self.targets;
        self.states.send_if_modified(|states| {
            let count = states.len();
            states.retain(|id, _| targets.contains_key(id));
            let mut is_changed = states.len() < count;
            for (id, target) in targets {
                is_changed |= publish(states, *id, &target.health);
            }
            is_changed
        });
    }

    /// Ends what is under way, and takes it off the list.
    fn forget(&mut self, target: &Target) {
        self.due.remove(&(target.due, target.check.id));
        if let Some(running) = &target.running {
            running.abort();
        }
    }

    /// Starts what is due, as far as there is room.
    fn start(&mut self) {
        let now = Instant::now();
        while self.running.len() < AT_ONCE
            && let Some((at, id)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, id));
            let Some(target) = self.targets.get_mut(&id) else {
                continue;
            };
            let (check, dial) = (target.check.clone(), Arc::clone(&self.dial));
            let perform = async move { (id, perform(&check, dial.as_ref()).await) };
            target.started = now;
            target.running = Some(self.running.spawn(perform));
        }
    }

    fn end(&mut self, ended: Result<(Id, Checked), JoinError>) {
        let (task, id, outcome) = match ended {
            Ok((task, (id, outcome))) => (task, Some(id), outcome.map_err(|e| e.to_string())),
            Err(error) => {
                let broke_off = Err(format!("the check broke off: {error}"));
                (error.id(), self.whose(error.id()), broke_off)
            }
        };
        // Otherwise it is gone, or another one has its id now.
        let Some((id, target)) = id
            .and_then(|id| Some((id, self.targets.get_mut(&id)?)))
            .filter(|(_, target)| target.is_running(task))
        else {
            return;
        };
        target.running = None;
        target.due = (target.started + target.wait()).max(Instant::now());
        self.due.insert((target.due, id));
        let thresholds = target.check.thresholds;
        target
            .health
            .observe(outcome, thresholds, SystemTime::now());
        self.states
            .send_if_modified(|states| publish(states, id, &target.health));
    }

    fn whose(&self, task: Id) -> Option<u64> {
        let mut targets = self.targets.iter();
        let (id, _) = targets.find(|(_, target)| target.is_running(task))?;
        Some(*id)
    }
}

impl Target {
    fn new(check: Check, now: Instant) -> Self {
        Self {
            check,
            health: Health::new(SystemTime::now()),
            due: now,
            started: now,
            running: None,
            is_new: true,
        }
    }

    fn is_running(&self, task: Id) -> bool {
        self.running.as_ref().is_some_and(|it| it.id() == task)
    }

    /// From the start of a check to the next one.
    fn wait(&mut self) -> Duration {
        let part = if mem::take(&mut self.is_new) {
            // Its keys are random.
            let random = RandomState::new().hash_one(self.check.id);
            random as f64 / u64::MAX as f64
        } else {
            1.0
        };
        self.check.interval.mul_f64(part).max(SHORTEST_INTERVAL)
    }
}

/// Whether that is another state than before.
fn publish(states: &mut States, id: u64, health: &Health) -> bool {
    let state = health.state();
    let is_changed = states.get(&id) != Some(state);
    if is_changed {
        states.insert(id, state.clone());
    }
    is_changed
}
