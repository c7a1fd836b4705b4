//! The health of targets and proxies: what the policy wants to know (`policy/balancing.rs`) is asked by
//! `balancer/health`, from the network namespace of the services.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use crate::{
    balancer::{
        Dial,
        health::{self, Checker, Kind, States, Status, Thresholds},
    },
    config::HealthCheckKind,
    policy::{Check, Checked},
};

/// Who is checked, and what is known.
pub struct Health {
    checker: Checker,
    states: watch::Receiver<States>,
    checks: Vec<Check>,
}

impl Health {
    /// Of nobody yet; in the background of the runtime, and as long as this is there.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        let checker = Checker::new(dial);
        let states = checker.states();
        Self {
            checker,
            states,
            checks: Vec::new(),
        }
    }

    /// Checks these from now on.
    pub fn set(&mut self, checks: Vec<Check>) {
        if self.checks == checks {
            return;
        }
        self.checker.set(checks.iter().map(check).collect());
        self.checks = checks;
    }

    /// Somebody's health is another one.
    pub async fn changed(&mut self) {
        if self.states.changed().await.is_err() {
            // The checker's task has ended: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Who is not well.
    pub fn unhealthy(&mut self) -> BTreeSet<Checked> {
        let states = self.states.borrow_and_update();
        let checks = self.checks.iter().filter(|check| {
            let state = states.get(&id(check));
            state.is_some_and(|state| state.status == Status::Unhealthy)
        });
        checks.map(|check| check.whom.clone()).collect()
    }
}

/// The address is nobody else's.
fn id(check: &Check) -> u64 {
    u64::from(check.at.ip().to_bits())
}

fn check(check: &Check) -> health::Check {
    let how = &check.how;
    health::Check {
        id: id(check),
        address: check.at,
        kind: match &how.kind {
            HealthCheckKind::Tcp => Kind::Tcp,
            HealthCheckKind::Http { path } => Kind::Http { path: path.clone() },
        },
        interval: how.interval,
        timeout: how.timeout,
        thresholds: Thresholds {
            healthy: how.healthy_threshold.into(),
            unhealthy: how.unhealthy_threshold.into(),
        },
    }
}
