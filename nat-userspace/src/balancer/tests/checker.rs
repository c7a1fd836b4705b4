//! The checker over time; sockets are real where a check is to succeed, else time is paused.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{PATIENCE, direct, nowhere, target};
use crate::balancer::health::{AT_ONCE, Check, Checker, Kind, States, Status, Thresholds};

const INTERVAL: Duration = Duration::from_secs(10);

fn check(id: u64, address: SocketAddrV4) -> Check {
    Check {
        id,
        address,
        kind: Kind::Tcp,
        interval: INTERVAL,
        timeout: Duration::from_secs(5),
        thresholds: Thresholds {
            healthy: 3,
            unhealthy: 2,
        },
    }
}

/// With a time between checks that a test waits for.
fn often(id: u64, address: SocketAddrV4) -> Check {
    Check {
        interval: Duration::from_millis(20),
        ..check(id, address)
    }
}

fn numbered(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + number), 80)
}

/// What was dialled when, of targets that do nothing but keep one waiting and refuse.
#[derive(Default)]
struct Dialled {
    at: HashMap<SocketAddrV4, Vec<Instant>>,
    now: HashMap<SocketAddrV4, u32>,
    at_once: usize,
}

fn refusing(after: Duration) -> (Checker, Arc<Mutex<Dialled>>) {
    let dialled = Arc::new(Mutex::new(Dialled::default()));
    let seen = Arc::clone(&dialled);
    let dial = move |to: SocketAddrV4| {
        let seen = Arc::clone(&seen);
        async move {
            {
                let mut seen = seen.lock().expect("no panic");
                seen.at.entry(to).or_default().push(Instant::now());
                let now = seen.now.entry(to).or_default();
                *now += 1;
                assert_eq!(*now, 1, "{to} is checked twice at once");
                seen.at_once = seen.at_once.max(seen.now.len());
            }
            sleep(after).await;
            seen.lock().expect("no panic").now.remove(&to);
            io::Result::<TcpStream>::Err(io::ErrorKind::ConnectionRefused.into())
        }
    };
    (Checker::new(Arc::new(dial)), dialled)
}

async fn wait(states: &mut watch::Receiver<States>, id: u64, status: Status) {
    let is_there = |states: &States| states.get(&id).is_some_and(|state| state.status == status);
    let waited = timeout(PATIENCE, states.wait_for(is_there)).await;
    waited.expect("in time").expect("a checker");
}

#[tokio::test]
async fn a_target_dies_and_comes_back() {
    let listener = TcpListener::bind(("127.77.0.1", 0)).await.expect("a port");
    let Ok(SocketAddr::V4(address)) = listener.local_addr() else {
        panic!("it is bound to IPv4");
    };
    let checker = Checker::new(direct());
    let mut states = checker.states();
    assert!(states.borrow().is_empty());
    checker.set(vec![often(1, address), often(2, nowhere().await)]);
    wait(&mut states, 1, Status::Healthy).await;
    wait(&mut states, 2, Status::Unhealthy).await;
    let since = states.borrow()[&1].since;
    drop(listener);
    wait(&mut states, 1, Status::Unhealthy).await;
    let state = states.borrow()[&1].clone();
    let reason = state.reason.expect("a reason");
    assert!(reason.starts_with("no connection: "), "{reason}");
    assert!(state.since > since);
    let _again = TcpListener::bind(address).await.expect("it is free");
    wait(&mut states, 1, Status::Healthy).await;
    assert_eq!(states.borrow()[&1].reason, None);
    assert_eq!(states.borrow()[&2].status, Status::Unhealthy);
}

#[tokio::test]
async fn what_does_not_change_is_not_published() {
    let address = target(async |stream: TcpStream| drop(stream)).await;
    let checker = Checker::new(direct());
    let mut states = checker.states();
    checker.set(vec![often(1, address)]);
    wait(&mut states, 1, Status::Healthy).await;
    states.mark_unchanged();
    checker.set(vec![often(1, address)]);
    sleep(Duration::from_millis(300)).await;
    assert!(!states.has_changed().expect("a checker"));
}

#[tokio::test(start_paused = true)]
async fn checks_are_made_at_once_and_then_in_their_intervals() {
    let (checker, dialled) = refusing(Duration::from_secs(1));
    checker.set((0..200).map(|n| check(n.into(), numbered(n))).collect());
    sleep(10 * INTERVAL + Duration::from_millis(1)).await;
    let dialled = dialled.lock().expect("no panic");
    let start = dialled.at[&numbered(0)][0];
    let mut parts = [0; 4];
    for at in dialled.at.values() {
        assert_eq!(at[0], start);
        let second = at[1] - start;
        assert!(second <= INTERVAL + Duration::from_millis(1), "{second:?}");
        parts[usize::try_from(second.as_millis() * 4 / 10_001).expect("small")] += 1;
        for pair in at[1..].windows(2) {
            let between = (pair[1] - pair[0]).as_millis();
            assert!((10_000..=10_002).contains(&between), "{between}");
        }
        assert!((11..=12).contains(&at.len()), "{}", at.len());
    }
    // Of 200, 50 each would be even.
    assert!(
        parts.iter().all(|part| (15..=110).contains(part)),
        "{parts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_are_checked_some_hundreds_at_once_and_each_once() {
    let (checker, dialled) = refusing(Duration::from_millis(100));
    let mut states = checker.states();
    checker.set((0..5000).map(|n| check(n.into(), numbered(n))).collect());
    let all = |states: &States| {
        let mut states = states.values();
        states.len() == 5000 && states.all(|state| state.status == Status::Unhealthy)
    };
    let waited = timeout(3 * INTERVAL, states.wait_for(all)).await;
    waited.expect("in time").expect("a checker");
    assert_eq!(dialled.lock().expect("no panic").at_once, AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn checks_that_take_longer_than_their_interval_are_not_made_twice_at_once() {
    let (checker, dialled) = refusing(Duration::from_secs(4));
    checker.set(vec![often(1, numbered(1))]);
    sleep(Duration::from_secs(41)).await;
    // One that is dialled twice at once breaks off; the count of dials tells.
    let count = dialled.lock().expect("no panic").at[&numbered(1)].len();
    assert!((10..=11).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_gone_is_not_dialled_any_more() {
    let (checker, dialled) = refusing(Duration::from_millis(1));
    let states = checker.states();
    let dials = |number| {
        let dialled = dialled.lock().expect("no panic");
        dialled.at.get(&numbered(number)).map_or(0, Vec::len)
    };
    checker.set(vec![check(1, numbered(1)), check(2, numbered(2))]);
    sleep(3 * INTERVAL).await;
    checker.set(vec![check(2, numbered(2))]);
    sleep(Duration::from_millis(5)).await;
    let (before, other) = (dials(1), dials(2));
    sleep(10 * INTERVAL).await;
    assert_eq!(dials(1), before);
    assert_eq!(dials(2), other + 10);
    assert!(states.borrow().keys().eq([&2]));
    drop(checker);
    sleep(10 * INTERVAL).await;
    assert_eq!(dials(2), other + 10);
    assert!(states.has_changed().is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_remains_keeps_its_state_and_another_address_starts_anew() {
    let (checker, _) = refusing(Duration::from_millis(1));
    let mut states = checker.states();
    checker.set(vec![check(1, numbered(1)), check(2, numbered(2))]);
    wait(&mut states, 1, Status::Unhealthy).await;
    wait(&mut states, 2, Status::Unhealthy).await;
    let since = states.borrow()[&1].since;
    checker.set(vec![
        often(1, numbered(1)),
        often(2, numbered(3)),
        check(4, numbered(4)),
    ]);
    // The change comes before the next checks do.
    states.mark_unchanged();
    states.changed().await.expect("a checker");
    let status = |id| states.borrow()[&id].status;
    assert_eq!(
        [status(1), status(2), status(4)],
        [Status::Unhealthy, Status::Initial, Status::Initial]
    );
    assert_eq!(states.borrow()[&1].since, since);
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_holds_at_once() {
    let (checker, dialled) = refusing(Duration::from_millis(1));
    // So long that no check falls into the hundred seconds by chance.
    let month = Duration::from_secs(30 * 24 * 3600);
    let monthly = Check {
        interval: month,
        ..check(1, numbered(1))
    };
    checker.set(vec![monthly]);
    sleep(month).await;
    checker.set(vec![check(1, numbered(1))]);
    sleep(Duration::from_secs(100)).await;
    let count = dialled.lock().expect("no panic").at[&numbered(1)].len();
    assert!(count >= 2 + 9, "{count}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_has_failed() {
    let dial = |_: SocketAddrV4| async { panic!("on purpose") };
    let checker = Checker::new(Arc::new(dial));
    let mut states = checker.states();
    checker.set(vec![check(1, numbered(1))]);
    wait(&mut states, 1, Status::Unhealthy).await;
    let reason = states.borrow()[&1].reason.clone().expect("a reason");
    assert!(reason.starts_with("the check broke off: "), "{reason}");
}
