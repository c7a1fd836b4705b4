//! TCP between real sockets: how much a stream carries with segmentation offload, and how long an
//! exchange of a byte takes.
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nat_tests::netns::{ethtool::Offload, sockets};

use crate::{
    CORE, Run,
    contender::{Contender, Kind},
    core::hold_core,
    figures::{Cell, Row, Table},
    forwarding::told,
    lab::{SERVER, Side},
};

const CHUNK: usize = 256 << 10;
const LIMIT: Duration = Duration::from_secs(10);
const EXCHANGE_COLUMNS: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// Exchanges before those that count.
const FIRST_EXCHANGES: usize = 200;
/// The client's core and the server's.
const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let kinds: Vec<_> = run
        .kinds()
        .into_iter()
        // A frame that is sent on as it is has the wrong station's address, and 1:1 has no such host.
        .filter(|kind| !matches!(kind, Kind::Limit | Kind::XdpElastic))
        .collect();
    let empty = |columns| -> Vec<Row> {
        kinds
            .iter()
            .map(|kind| Row::empty(kind.label(), columns))
            .collect()
    };
    let (mut bulk, mut exchanges) = (empty(1), empty(EXCHANGE_COLUMNS.len()));
    let mut ready = Vec::new();
    for (row, kind) in kinds.iter().enumerate() {
        run.say(&format!("setting up {}", kind.label()));
        match set_up(run, kind) {
            Ok(link) => ready.push((row, link)),
            Err(error) => {
                bulk[row].cells = vec![Cell::missing(&error)];
                exchanges[row].cells = vec![Cell::missing(&error); EXCHANGE_COLUMNS.len()];
            }
        }
    }
    for round in 1..=run.rounds() {
        for (row, link) in &ready {
            let outcome = link.bulk(run.round_time() * 2);
            run.say(&format!(
                "TCP, round {round}: {}: {} Gbit/s",
                bulk[*row].name,
                told(&outcome)
            ));
            bulk[*row].add(0, outcome);
            let times = link.exchanges(run.exchanges());
            for (column, (_, part)) in EXCHANGE_COLUMNS.iter().enumerate() {
                let figure = match &times {
                    Ok(sorted) => Ok(at(sorted, *part)),
                    Err(error) => Err(anyhow::anyhow!("{error:#}")),
                };
                exchanges[*row].add(column, figure);
            }
        }
    }
    Ok(vec![
        Table {
            name: "tcp-stream",
            title: "One TCP stream, from inside out".to_owned(),
            unit: "Gbit per second",
            columns: vec!["1500 bytes MTU".to_owned()],
            rows: bulk,
            reference: Some(Kind::Kernel.label().to_owned()),
            note: "Sender, contender and receiver on one core. XDP does not see trains of segments, so with it the hosts send \
                   finished frames of one segment: what a NIC would deliver.",
        },
        Table {
            name: "tcp-exchange",
            title: "A byte there and back over TCP".to_owned(),
            unit: "microseconds",
            columns: EXCHANGE_COLUMNS.map(|(name, _)| name.to_owned()).to_vec(),
            rows: exchanges,
            reference: Some(Kind::Kernel.label().to_owned()),
            note: "Client and server on a core each, one exchange at a time.",
        },
    ])
}

/// A contender with sockets at its ends.
struct Link {
    contender: Contender,
    listener: TcpListener,
}

fn set_up(run: &Run, kind: &Kind) -> Result<Link> {
    let mut contender = Contender::new(kind, &run.object, 1, 1, 1)?;
    contender.leave_the_ends();
    let lab = &contender.lab;
    if *kind == Kind::XdpPat {
        for side in [Side::Inside, Side::Outside] {
            let (node, device) = lab.end(side);
            // With it goes the cutting of segments behind the stack.
            node.offload(device, Offload::TransmitChecksum, false)?;
        }
    }
    let listener = lab.outside.listen(&format!("{SERVER}:5001"))?;
    Ok(Link {
        contender,
        listener,
    })
}

impl Link {
    /// A connection: the client's end, and the server's.
    fn connect(&self) -> Result<[TcpStream; 2]> {
        let to = SocketAddrV4::new(SERVER, 5001);
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let client = self
            .contender
            .lab
            .inside
            .run(|| sockets::connect(any, to, LIMIT).context("no connection through it"))?;
        let (server, _) = self.listener.accept().context("no connection came")?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(LIMIT))?;
            end.set_write_timeout(Some(LIMIT))?;
        }
        Ok([client, server])
    }

    fn bulk(&self, time: Duration) -> Result<f64> {
        carried(vec![self.connect()?], time)
    }

    /// How many microseconds exchanges took, sorted.
    fn exchanges(&self, count: usize) -> Result<Vec<f64>> {
        let [mut client, mut server] = self.connect()?;
        thread::scope(|scope| {
            let answers = scope.spawn(move || -> Result<()> {
                let _held = hold_core(SERVER_CORE)?;
                let mut byte = [0];
                while server.read(&mut byte)? > 0 {
                    server.write_all(&byte)?;
                }
                Ok(())
            });
            let asks = scope.spawn(move || -> Result<Vec<f64>> {
                let _held = hold_core(CLIENT_CORE)?;
                let mut byte = [0];
                let mut times = Vec::with_capacity(count);
                for _ in 0..FIRST_EXCHANGES + count {
                    let begun = Instant::now();
                    client.write_all(&byte)?;
                    client.read_exact(&mut byte)?;
                    times.push(begun.elapsed().as_secs_f64() * 1e6);
                }
                Ok(times)
            });
            let mut times = joined(asks.join())?.split_off(FIRST_EXCHANGES);
            joined(answers.join())?;
            times.sort_by(f64::total_cmp);
            Ok(times)
        })
    }
}

/// Gigabits per second, in the second half of that time, of connections that end with it: each is its sending end
/// and its receiving one.
pub fn carried(connections: Vec<[TcpStream; 2]>, time: Duration) -> Result<f64> {
    let (received, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let send = |mut client: TcpStream| -> Result<()> {
        let _held = hold_core(CORE)?;
        let bytes = vec![0; CHUNK];
        while !done.load(Relaxed) {
            client.write_all(&bytes)?;
        }
        // So that the receiver comes to its end.
        Ok(client.shutdown(std::net::Shutdown::Both)?)
    };
    let receive = |mut server: TcpStream| -> Result<()> {
        let _held = hold_core(CORE)?;
        let mut bytes = vec![0; CHUNK];
        loop {
            match server.read(&mut bytes)? {
                0 => return Ok(()),
                count => _ = received.fetch_add(count as u64, Relaxed),
            }
        }
    };
    let (send, receive) = (&send, &receive);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for [client, server] in connections {
            threads.push(("sending", scope.spawn(move || send(client))));
            threads.push(("receiving", scope.spawn(move || receive(server))));
        }
        thread::sleep(time / 2);
        let (begun, before) = (Instant::now(), received.load(Relaxed));
        thread::sleep(time / 2);
        let (took, bytes) = (begun.elapsed(), received.load(Relaxed) - before);
        done.store(true, Relaxed);
        for (what, thread) in threads {
            joined(thread.join()).context(what)?;
        }
        Ok(bytes as f64 * 8.0 / took.as_secs_f64() / 1e9)
    })
}

pub fn joined<T>(outcome: thread::Result<Result<T>>) -> Result<T> {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The time that this part of the exchanges did not exceed.
fn at(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
