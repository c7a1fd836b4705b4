//! What a large VPC costs the controller: from the text of its configuration to tables that hold, and
//! what a single object more or less takes then, by a changed configuration and by the API.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nat_userspace::{
    attach,
    config::{
        self, Attach, Config,
        objects::{Kind, ObjectKey, Source},
    },
    controller::{self, Controller, tear_down},
    desired::{Command, Desired, Order, store::Store},
    host,
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
    policy::{self, Facts, Numbering},
};
use tokio::sync::oneshot;

use crate::{
    Run,
    control::milliseconds,
    figures::{Row, Table},
    lab::{INSIDE, Lab, UPLINK},
    large::{self, Large},
    ours::{DEFAULT_CAPACITY, configuration},
};

const STORE: &str = "/run/nat-bench/state.redb";

const STEPS: [&str; 15] = [
    "text to a checked configuration",
    "configuration to tables",
    "reload: tables, written and switched",
    "the whole apply (wanted: < 1000)",
    "the other side brought up to date",
    "reload, an instance more (wanted: < 50)",
    "reload, a route more (wanted: < 50)",
    "reload, a rule more (wanted: < 50)",
    "reload, an instance in another group (wanted: < 50)",
    "API: an instance more (wanted: < 50)",
    "API: a route more (wanted: < 50)",
    "API: a rule more (wanted: < 50)",
    "API: an instance in another group (wanted: < 50)",
    "API: a file with a route more (wanted: < 1000)",
    "all of it goes",
];

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let mut rows = STEPS.map(|name| Row::empty(name, 1)).to_vec();
    for round in 1..=run.rounds() {
        let times = Lab::new(0, 1)?.device.run(once)?;
        run.say(&format!("a large VPC, round {round}"));
        for (row, time) in rows.iter_mut().zip(times) {
            row.add(0, Ok(milliseconds(time)));
        }
    }
    Ok(vec![Table {
        name: "policy",
        title: large::told(),
        unit: "milliseconds",
        columns: vec!["time".to_owned()],
        rows,
        reference: None,
        note: "A reload begins with the configuration as it was parsed. The other side is brought up to date behind \
               every change, as a controller does while nobody waits. The API's changes are in the store, synced.",
    }])
}

fn once() -> Result<[Duration; STEPS.len()]> {
    let pins = Pins::new(DEFAULT_PIN_DIR);
    let small = read(&configuration("xdp", DEFAULT_CAPACITY, 0))?;
    let mut controller = controller::start(&small, &pins, LoadOptions::default())?;
    let usual = Large::default();
    let text = usual.text();
    let begun = Instant::now();
    let all = read(&text)?;
    let parsed = begun.elapsed();
    let compiled = compiling(&all)?;
    let mut reload = |config: &Config| -> Result<(Duration, Duration)> {
        let begun = Instant::now();
        controller.reload(config)?;
        let taken = begun.elapsed();
        controller.renew()?;
        Ok((taken, begun.elapsed().saturating_sub(taken)))
    };
    let (reloaded, levelled) = reload(&all)?;
    let mut one = |large: Large| -> Result<Duration> {
        let changed = read(&large.text())?;
        let (taken, _) = reload(&changed)?;
        reload(&all)?;
        Ok(taken)
    };
    let instance = one(Large {
        more_instances: 1,
        ..usual
    })?;
    let route = one(Large {
        more_routes: 1,
        ..usual
    })?;
    let rule = one(Large {
        more_rules: 1,
        ..usual
    })?;
    let group = one(Large {
        first_group: 1,
        ..usual
    })?;
    let by_api = through_api(&mut controller, text)?;
    let begun = Instant::now();
    controller.reload(&small)?;
    let gone = begun.elapsed();
    drop(controller);
    tear_down(&pins)?;
    let [api_instance, api_route, api_rule, api_group, api_file] = by_api;
    Ok([
        parsed,
        compiled,
        reloaded,
        parsed + reloaded,
        levelled,
        instance,
        route,
        rule,
        group,
        api_instance,
        api_route,
        api_rule,
        api_group,
        api_file,
        gone,
    ])
}

fn read(text: &str) -> Result<Config> {
    config::parse("bench", text).map_err(|error| anyhow!("{error}"))
}

/// By a compiler that knows nothing yet, as that of a controller which has just started.
fn compiling(config: &Config) -> Result<Duration> {
    let interfaces = [host::interface(INSIDE)?, host::interface(UPLINK)?];
    let attached = attach::plan(&interfaces, Attach::Xdp);
    let mut numbering = Numbering::default();
    let begun = Instant::now();
    let tables = policy::compile(
        config,
        &mut numbering,
        Facts {
            attached: &attached,
            forwarding_set: &BTreeSet::new(),
            secrets: &BTreeMap::new(),
            unhealthy: &BTreeSet::new(),
            random: &mut host::random,
            to_the_tick: false,
            window_shift_before: 0,
        },
    )?;
    let taken = begun.elapsed();
    drop(tables);
    Ok(taken)
}

/// What the API's commands take, from the command to its answer.
fn through_api(controller: &mut Controller, text: String) -> Result<[Duration; 5]> {
    // The store of the round before.
    let _ = std::fs::remove_file(STORE);
    let source = |text: String| Source {
        name: "bench".to_owned(),
        text,
    };
    let desired = Desired::open(Store::open(STORE.as_ref())?, Some(source(text)));
    let mut desired = desired.map_err(|error| anyhow!("{error:?}"))?;
    desired.confirm()?;
    let mut obey = |command: Command| -> Result<Duration> {
        let (answer, mut answered) = oneshot::channel();
        let begun = Instant::now();
        let order = Order {
            command,
            expected: None,
            answer,
        };
        desired.obey(order, controller);
        let taken = begun.elapsed();
        let reply = answered.try_recv().context("no answer")?;
        reply.map_err(|rejection| anyhow!("{rejection}"))?;
        controller.renew()?;
        Ok(taken)
    };
    let put = |kind: Kind, name: &str, spec: String| -> Result<Command> {
        let key = ObjectKey::new(large::VPC, kind, name);
        Ok(Command::Put(key, serde_json::from_str(&spec)?))
    };
    let group = |rules| put(Kind::SecurityGroup, "more", large::group_json(rules));
    let instance = |group: &str| put(Kind::Instance, "more", large::instance_json(group));
    obey(group(large::RULES - 1)?)?;
    let made = obey(instance("more")?)?;
    let route = obey(put(Kind::Route, "more", large::route_json())?)?;
    let rule = obey(group(large::RULES)?)?;
    let moved = obey(instance("group-0")?)?;
    let more = Large {
        more_routes: 1,
        ..Large::default()
    };
    let file = obey(Command::Apply(source(more.text())))?;
    Ok([made, route, rule, moved, file])
}
