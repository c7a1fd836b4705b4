//! What an endpoint costs: connections of one client within its VPC, by a NAT gateway, by a gateway endpoint, and by
//! an interface endpoint into another VPC, with and without the PROXY protocol (endpoint_lab.rs).
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nat_tests::netns::sockets;

use crate::{
    CORE, Run,
    core::hold_core,
    endpoint_lab::{By, EndpointLab, PORT},
    figures::{Cell, Row, Table},
    forwarding::{TOLERATED_LOSS, told},
    lab::{CLIENT, Lab, Side},
    plan::Plan,
    tcp::{carried, joined},
    traffic::{Amount, Traffic},
};

const HOOKS: [(&str, &str); 2] = [("tc", "TC"), ("xdp", "XDP")];
/// Connections at once of a stream's figures.
const STREAMS: [usize; 2] = [1, 8];
/// Threads of the client, and of the server.
const THREADS: usize = 4;
const UDP_FLOWS: u32 = 1_000;
const UDP_FIRST_PORT: u32 = 1_024;
const LIMIT: Duration = Duration::from_secs(10);

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let wanted = By::ALL.into_iter().filter(|by| run.wants_named(by.label()));
    let ways: Vec<By> = wanted.collect();
    // The relay takes TCP alone.
    let by_udp = ways.iter().filter(|by| **by != By::ProxyProtocol);
    let by_udp: Vec<By> = by_udp.copied().collect();
    let empty = |ways: &[By], columns| -> Vec<Row> {
        let rows = ways.iter().map(|by| Row::empty(by.label(), columns));
        rows.collect()
    };
    let mut streams = empty(&ways, HOOKS.len() * STREAMS.len());
    let mut opened = empty(&ways, HOOKS.len());
    let mut packets = empty(&by_udp, HOOKS.len());
    // Rounds of many figures.
    let time = run.round_time() * 3 / 4;
    for (column, (attach, hook)) in HOOKS.into_iter().enumerate() {
        run.say(&format!("setting up endpoints on {hook}"));
        // Two for a connection that is relayed.
        let room = run.rounds() * run.connections() * (By::ALL.len() + 1);
        let lab = EndpointLab::new(attach, room as u64)?;
        let say = |round: usize, by: By, what: &str, outcome: &Result<f64>| {
            let (label, outcome) = (by.label(), told(outcome));
            run.say(&format!(
                "{hook}, round {round}: {label}: {what}: {outcome}"
            ));
        };
        let first = column * STREAMS.len();
        let mut ready = Vec::new();
        for (row, by) in ways.iter().enumerate() {
            match Served::new(&lab, *by) {
                Ok(served) => ready.push((row, served)),
                Err(error) => {
                    let missing = Cell::missing(&error);
                    streams[row].cells[first..first + STREAMS.len()].fill(missing.clone());
                    opened[row].cells[column] = missing;
                }
            }
        }
        for round in 1..=run.rounds() {
            for (row, served) in &ready {
                for (index, count) in STREAMS.into_iter().enumerate() {
                    let outcome = served.streams(count, time);
                    say(
                        round,
                        served.by,
                        &format!("{count} streams, Gbit/s"),
                        &outcome,
                    );
                    streams[*row].add(first + index, outcome);
                }
                let outcome = served.opened(run.connections());
                say(round, served.by, "thousand connections/s", &outcome);
                opened[*row].add(column, outcome);
            }
        }
        // Generator and sinks keep sockets from the hosts.
        for round in 1..=run.rounds() {
            for (row, by) in packets.iter_mut().zip(&by_udp) {
                let outcome = udp(run, &lab, *by, time);
                say(round, *by, "UDP, million packets/s", &outcome);
                row.add(column, outcome);
            }
        }
    }
    let names = HOOKS.map(|(_, hook)| hook);
    let of_streams = names
        .iter()
        .flat_map(|hook| STREAMS.map(|count| format!("{hook}, {count} at once")));
    let hooks = names.map(str::to_owned).to_vec();
    Ok(vec![
        Table {
            name: "endpoints-stream",
            title: "TCP streams to a server, by way of".to_owned(),
            unit: "Gbit per second",
            columns: of_streams.collect(),
            rows: streams,
            reference: Some(By::Local.label().to_owned()),
            note: "Senders, device, relay and receivers on one core. XDP does not see trains of segments, so with it the \
                   hosts send finished frames of one segment: what a NIC would deliver.",
        },
        Table {
            name: "endpoints-connections",
            title: "A connection, a byte there and back, and its end, by way of".to_owned(),
            unit: "thousand connections per second",
            columns: hooks.clone(),
            rows: opened,
            reference: Some(By::Local.label().to_owned()),
            note: "Four threads each of the client and of the server, all on one core with device and relay.",
        },
        Table {
            name: "endpoints-udp",
            title: format!("Packets of {UDP_FLOWS} established UDP flows, by way of"),
            unit: "million packets per second",
            columns: hooks,
            rows: packets,
            reference: Some(By::NatGateway.label().to_owned()),
            note: "Generator, device and sink on one core.",
        },
    ])
}

/// A server that the client reaches in this way.
struct Served<'a> {
    by: By,
    lab: &'a EndpointLab,
    listener: TcpListener,
}

impl<'a> Served<'a> {
    /// Makes sure that the way is that one.
    fn new(lab: &'a EndpointLab, by: By) -> Result<Self> {
        let listener = lab
            .host(by)
            .listen(&format!("{}:{}", by.server(), by.port()))?;
        let served = Self { by, lab, listener };
        served.connect()?;
        Ok(served)
    }

    /// Opens one in the client's namespace, where this thread has to be.
    fn open(&self) -> Result<TcpStream> {
        let to = SocketAddrV4::new(self.by.asked(), self.by.port());
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        sockets::connect(any, to, LIMIT).context("no connection to it")
    }

    /// Takes the next one, and what the load balancer says about it.
    fn accept(&self) -> Result<TcpStream> {
        let (mut server, seen) = sockets::accept(&self.listener)?;
        ensure!(
            *seen.ip() == self.by.seen(),
            "the server sees {seen}, not {}",
            self.by.seen()
        );
        if self.by == By::ProxyProtocol {
            let mut head = [0; 16];
            server.read_exact(&mut head).context("no header")?;
            let [.., high, low] = head;
            let mut rest = vec![0; u16::from_be_bytes([high, low]).into()];
            server.read_exact(&mut rest).context("half a header")?;
        }
        Ok(server)
    }

    fn connect(&self) -> Result<[TcpStream; 2]> {
        let client = self.lab.client.run(|| self.open())?;
        Ok([client, self.accept()?])
    }

    /// Gigabits per second of so many connections.
    fn streams(&self, count: usize, time: Duration) -> Result<f64> {
        let connections = (0..count).map(|_| self.connect());
        carried(connections.collect::<Result<_>>()?, time)
    }

    /// How many thousands a second are opened, used for a byte each way, and closed.
    fn opened(&self, count: usize) -> Result<f64> {
        let each = count / THREADS;
        let asks = || {
            self.lab.client.run(|| {
                let _held = hold_core(CORE)?;
                for _ in 0..each {
                    let mut client = self.open()?;
                    client.write_all(&[1])?;
                    client.read_exact(&mut [0])?;
                }
                Ok(())
            })
        };
        let answers = || -> Result<()> {
            let _held = hold_core(CORE)?;
            for _ in 0..each {
                let mut server = self.accept()?;
                server.read_exact(&mut [0])?;
                server.write_all(&[1])?;
                // Until the client is at its end.
                while server.read(&mut [0])? > 0 {}
            }
            Ok(())
        };
        let begun = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let answering: Vec<_> = (0..THREADS).map(|_| scope.spawn(answers)).collect();
            let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(asks)).collect();
            for thread in asking {
                joined(thread.join()).context("the client")?;
            }
            for thread in answering {
                joined(thread.join()).context("the server")?;
            }
            Ok(())
        })?;
        Ok((each * THREADS) as f64 / begun.elapsed().as_secs_f64() / 1e3)
    }
}

/// Millions of packets per second that get there.
fn udp(run: &Run, lab: &EndpointLab, by: By, time: Duration) -> Result<f64> {
    const ALL_BITS: u32 = u32::MAX;
    let (router, host) = Lab::macs(Side::Inside);
    let plan = Plan {
        source: CLIENT.to_bits(),
        destination: by.asked().to_bits(),
        source_port: UDP_FIRST_PORT,
        destination_port: PORT.into(),
        source_port_step: 1,
        addresses: 1,
        ports: UDP_FLOWS,
        expected_source: by.seen().to_bits(),
        expected_source_mask: ALL_BITS,
        expected_destination: by.server().to_bits(),
        expected_destination_mask: ALL_BITS,
        to: router,
        from: host,
        ..Plan::default()
    };
    let mut traffic = Traffic::between(lab.ends(by), &run.object)?;
    let mut send = |amount| traffic.send(Side::Inside, &plan, amount, &[CORE]);
    // Makes the sessions, and fills the caches.
    send(Amount::Time(run.warm_up()))?;
    let sent = send(Amount::Time(time))?;
    ensure!(
        sent.loss() <= TOLERATED_LOSS,
        "{:.1} % of the packets did not arrive",
        sent.loss() * 100.0
    );
    Ok(sent.rate())
}
