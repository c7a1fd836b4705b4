//! What `nat metrics` says of each NAT gateway (the figures of AWS's NAT gateways).
use std::time::Duration;

use nat_tests::netns::{Connection, EXCHANGE, Hook, configuration::classic};
use serde_json::Value;

use crate::{
    attempts::{assert_refused_soon, wait_until},
    standing::{READ, Standing},
};

const SERVER: &str = "198.51.100.80:8080";

fn metrics(standing: &Standing) -> Value {
    metrics_of(standing, "egress")
}

/// The figures of a gateway. One that is gone is listed as long as it drains.
fn metrics_of(standing: &Standing, gateway: &str) -> Value {
    let text = standing.nat.finish(["metrics", "--json"]);
    let text = text
        .and_then(|said| said.success())
        .expect("nat metrics --json");
    let all = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    let its: Vec<_> = all
        .filter(|each: &Value| each["gateway"] == gateway)
        .collect();
    assert_eq!(its.len(), 1, "{text}");
    its[0].clone()
}

fn figure(metrics: &Value, name: &str) -> u64 {
    let figure = metrics[name].as_u64();
    figure.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

pub fn nat_gateway_connections_are_counted_while_they_live_and_when_they_are_over(hook: Hook) {
    let standing = Standing::with_gateway_keys(
        hook,
        "timeouts = { tcp = 2, tcp_opening = 2, tcp_closing = 1, udp = 1 }",
    );
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let closed = Connection::open(&lab.private_a, "10.40.2.101:41400", SERVER, &listener);
    let idle = Connection::open(&lab.private_b, "10.40.2.201:41400", SERVER, &listener);
    let (closed, idle) = (closed.expect("a connection"), idle.expect("another one"));
    closed.exchange().expect("data");
    let alive = metrics(&standing);
    assert_eq!(alive["vpc"], "main");
    for name in [
        "ConnectionAttemptCount",
        "ConnectionEstablishedCount",
        "ActiveConnectionCount",
    ] {
        assert_eq!(figure(&alive, name), 2, "{name}");
    }
    // At least what opened them: the rest may still be counted in the flow cache.
    for (one, other) in [
        ("InFromSource", "OutToDestination"),
        ("InFromDestination", "OutToSource"),
    ] {
        for unit in ["Packets", "Bytes"] {
            let [one, other] = [one, other].map(|way| figure(&alive, &format!("{unit}{way}")));
            assert_eq!(one, other);
            assert!(one >= if unit == "Packets" { 2 } else { 80 }, "{alive}");
        }
    }
    drop(closed);
    wait_until("both sessions are over", Duration::from_secs(20), || {
        standing.nat.sessions().expect("sessions").is_empty()
    });
    let over = metrics(&standing);
    assert_eq!(figure(&over, "ActiveConnectionCount"), 0);
    assert_eq!(figure(&over, "ConnectionAttemptCount"), 2);
    assert_eq!(figure(&over, "ConnectionEstablishedCount"), 2);
    // The other one was closed.
    assert_eq!(figure(&over, "IdleTimeoutCount"), 1);
    for name in ["PacketsInFromSource", "BytesOutToSource"] {
        assert!(
            figure(&over, name) >= figure(&alive, name),
            "{name}: {over}"
        );
    }
    drop(idle);
}

pub fn nat_gateway_what_is_not_translated_is_counted_by_its_cause(hook: Hook) {
    let standing = Standing::with_gateway_keys(hook, "ports = [\"5000-5000\"]");
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&lab.private_a, "10.40.2.101:41410", SERVER, &listener);
    let held = held.expect("a connection");
    assert_refused_soon(&lab.private_b, "10.40.2.201:41410", SERVER);
    let counted = metrics(&standing);
    assert!(figure(&counted, "ErrorPortAllocation") >= 1, "{counted}");
    assert!(figure(&counted, "PacketsDropCount") >= 1, "{counted}");
    let attempts = figure(&counted, "ConnectionAttemptCount");
    assert!(attempts >= 2, "{counted}");
    assert_eq!(figure(&counted, "ConnectionEstablishedCount"), 1);
    // Nobody asked for this.
    let stranger = lab.internet.udp("198.51.100.80:9000").expect("a socket");
    stranger
        .send_to(b"?", "198.51.100.10:5000")
        .expect("a datagram");
    let dropped = figure(&counted, "PacketsDropCount");
    wait_until("the stranger's packet counts", EXCHANGE, || {
        figure(&metrics(&standing), "PacketsDropCount") > dropped
    });
    drop(held);
}

pub fn nat_gateway_another_one_begins_at_nothing(hook: Hook) {
    let standing = Standing::new(hook);
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&lab.private_a, "10.40.2.101:41420", SERVER, &listener);
    held.expect("a connection").exchange().expect("data");
    assert!(figure(&metrics(&standing), "PacketsInFromSource") > 0);
    let text = classic(hook, "");
    standing.configure(&text.replace("egress", "another"));
    standing.hang_up(READ);
    let another = metrics_of(&standing, "another");
    assert_eq!(figure(&another, "ConnectionAttemptCount"), 0, "{another}");
    assert_eq!(figure(&another, "PacketsInFromSource"), 0, "{another}");
}

pub fn nat_gateway_prometheus_reads_its_figures(hook: Hook) {
    let standing = Standing::new(hook);
    let text = standing.nat.finish(["metrics", "--prometheus"]);
    let text = text
        .and_then(|said| said.success())
        .expect("nat metrics --prometheus");
    let line = "nat_gateway_connection_attempt_count_total{vpc=\"main\",gateway=\"egress\"} 0";
    assert!(text.lines().any(|each| each == line), "{text}");
}
