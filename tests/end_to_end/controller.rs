//! The controller's life: start, death, successor, expiry of what it keeps, and its end.
use std::{
    thread,
    time::{Duration, Instant},
};

use nat_tests::netns::{
    Connection, Hook, Nat, Picture, Report,
    configuration::{classic, put},
    leftovers::{leftovers, leftovers_text},
    main_job::main_job,
    sessions::find,
    sockets::udp_exchange,
};

use crate::standing::{Standing, program};

const SERVER: &str = "198.51.100.80:8080";
const PRIVATE_A: &str = "10.40.2.101:40001";
const PRIVATE_B: &str = "10.40.2.201:40001";

pub fn main_job_holds(hook: Hook) {
    let mut report = Report::new(hook, |check| println!("{}", check.line()));
    main_job(&program(), hook, &mut report, |_, table| {
        println!("{table}");
        Ok(())
    })
    .expect("a lab");
    let failed: Vec<_> = report.failed().map(|check| check.line()).collect();
    assert!(report.all_held(), "on {hook}:\n{}", failed.join("\n"));
}

pub fn kill_minus_nine_keeps_connections_and_a_new_controller_adopts_them(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, PRIVATE_A, SERVER, &server)
        .expect("a connection");
    held.exchange().expect("before the controller dies");
    let before = standing.nat.sessions().expect("sessions");
    let before = find(&before, "tcp", PRIVATE_A, SERVER)
        .expect("the connection's session")
        .clone();

    standing.kill_nine();
    held.exchange().expect("without a controller");
    let between = standing
        .nat
        .sessions()
        .expect("sessions without a controller");
    let between =
        find(&between, "tcp", PRIVATE_A, SERVER).expect("the session without a controller");
    assert_eq!(between.outside(), before.outside());
    assert!(
        between.packets_out > before.packets_out,
        "{} then {}",
        before.packets_out,
        between.packets_out
    );

    standing.start(&[]);
    held.exchange().expect("with the new controller");
    let after = standing
        .nat
        .sessions()
        .expect("sessions of the new controller");
    let after = find(&after, "tcp", PRIVATE_A, SERVER).expect("the adopted session");
    assert_eq!(after.outside(), before.outside());
    assert!(
        after.packets_out > between.packets_out,
        "{} then {}",
        between.packets_out,
        after.packets_out
    );

    // The adopted mapping is taken: the same port of another host towards the same server needs another.
    let rival = Connection::open(&standing.lab.private_b, PRIVATE_B, SERVER, &server)
        .expect("a new connection");
    rival.exchange().expect("the new connection");
    assert_eq!(rival.seen.ip(), held.seen.ip());
    assert_ne!(rival.seen.port(), held.seen.port());
    held.exchange().expect("beside the new connection");
    standing.assert_running();
}

pub fn sessions_expire_after_their_timeout(hook: Hook) {
    const WATCHED: Duration = Duration::from_secs(12);
    let keys = "timeouts = { tcp = 350, udp = 3, udp_stream = 3, icmp = 3 }";
    let mut standing = Standing::with_gateway_keys(hook, keys);
    let (lab, nat) = (&standing.lab, &standing.nat);
    let peer = "198.51.100.80:5300";
    let server = lab.internet.udp(peer).expect("a server");
    let (idle_address, busy_address) = ("10.40.2.101:40003", "10.40.2.101:40004");
    let idle = lab.private_a.udp(idle_address).expect("a socket");
    let busy = lab.private_a.udp(busy_address).expect("a socket");

    // One answer for each, then the idle one falls silent.
    let outside = udp_exchange(&busy, peer, &server).expect("the busy exchange");
    udp_exchange(&idle, peer, &server).expect("the idle exchange");
    let start = Instant::now();
    let table = nat.sessions().expect("sessions");
    assert!(
        find(&table, "udp", idle_address, peer).is_some(),
        "the session is in the table at first: {table:?}"
    );

    let mut gone_after = None;
    thread::scope(|scope| {
        // Beside the looking, which may be slow.
        scope.spawn(|| {
            while start.elapsed() < WATCHED {
                busy.send_to(b"still here", peer).expect("sending");
                thread::sleep(Duration::from_secs(1));
            }
        });
        let mut counted = 0;
        while start.elapsed() < WATCHED {
            let table = nat.sessions().expect("sessions");
            let session = find(&table, "udp", busy_address, peer);
            let session = session.unwrap_or_else(|| {
                panic!(
                    "with a packet a second, no session after {:?}: {table:?}",
                    start.elapsed()
                )
            });
            assert_eq!(session.outside(), outside);
            // A session that had been removed and made again would have begun to count again.
            assert!(
                session.packets_out >= counted,
                "{} packets after {counted}",
                session.packets_out
            );
            counted = session.packets_out;
            if gone_after.is_none() && find(&table, "udp", idle_address, peer).is_none() {
                gone_after = Some(start.elapsed());
            }
            thread::sleep(Duration::from_millis(300));
        }
        assert!(
            counted >= 8,
            "{counted} packets counted in {WATCHED:?}, one a second"
        );
    });
    let gone_after =
        gone_after.unwrap_or_else(|| panic!("the idle session is still there after {WATCHED:?}"));
    assert!(
        gone_after > Duration::from_secs(2),
        "it went after {gone_after:?}, before its 3 s"
    );
    standing.assert_running();
}

pub fn down_leaves_nothing(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let connection = Connection::open(&standing.lab.private_a, PRIVATE_A, SERVER, &server)
        .expect("a connection");
    connection.exchange().expect("data");
    assert_attached(&standing.lab, hook);

    assert_eq!(standing.terminate(), Some(0), "SIGTERM");
    assert_attached(&standing.lab, hook);
    standing.nat.down().expect("nat down");
    assert_eq!(
        leftovers_text(&standing.lab.edge).expect("a look"),
        "nothing"
    );

    // What is gone can be made again, and can go with its controller.
    standing.start(&["--teardown-on-exit"]);
    assert_attached(&standing.lab, hook);
    assert_eq!(
        standing.terminate(),
        Some(0),
        "SIGTERM with --teardown-on-exit"
    );
    assert_eq!(
        leftovers_text(&standing.lab.edge).expect("a look"),
        "nothing"
    );
}

/// Every interface of the edge carries a program at the hook, so that the absence of all means something.
fn assert_attached(lab: &Picture, hook: Hook) {
    let found = leftovers(&lab.edge).expect("a look");
    for device in Picture::EDGE_INTERFACES {
        let index = lab.edge.index(device).expect("an index");
        let signs = match hook {
            Hook::Xdp | Hook::XdpGeneric => vec![format!("XDP program on {device}")],
            Hook::Tc => vec![
                format!("TCX program(s) on {device} ingress"),
                format!("clsact on interface {index}"),
            ],
        };
        let attached = found
            .iter()
            .any(|line| signs.iter().any(|sign| line.ends_with(sign.as_str())));
        assert!(attached, "nothing attached on {device}: {found:?}");
    }
    assert!(
        found.iter().any(|line| line.starts_with("pin ")),
        "no pins: {found:?}"
    );
}

pub fn nothing_attached_on_bad_config(hook: Hook) {
    let lab = Picture::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let good = classic(hook, "");
    let bad = good.replace("nat-gateway:egress", "nat-gateway:nowhere");
    let line = 1 + bad
        .lines()
        .position(|line| line.contains("nowhere"))
        .expect("the mistake");
    let bad = put(&lab.edge, &bad).expect("a configuration file");
    let finished = nat.finish(["run", "--config", bad]).expect("an end");
    assert_eq!(
        finished.code,
        Some(2),
        "exit status; stderr:\n{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("nowhere"),
        "the mistake is not named:\n{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains(&format!("{line}")),
        "line {line} is not named:\n{}",
        finished.stderr
    );
    assert!(
        finished.stdout.is_empty(),
        "errors belong on stderr: {:?}",
        String::from_utf8_lossy(&finished.stdout)
    );
    assert_eq!(leftovers_text(&lab.edge).expect("a look"), "nothing");
}
