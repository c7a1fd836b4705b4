//! Policies that change all the time: what both allow goes on without a loss, and no packet sees some of one
//! and some of the other.
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nat_tests::{
    netns::{
        Hook, Picture,
        api::Api,
        numbered::{FIRST_PORT, Host, Numbered, next, roomy_udp},
        raw::RawSender,
        steady::{self, Stream},
    },
    packets::{ETHERNET_LEN, PacketBuilder},
};

use crate::{
    standing::Standing,
    two_policies::{CLOUD, CLOUD_PUBLIC, FIRST_GATEWAY, PRIVATE, PROBED, Policy, SECOND_GATEWAY},
};

const EVERY: Duration = Duration::from_millis(10);
/// Senders send some packets, and then wait that long.
const PAUSE: Duration = Duration::from_millis(2);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 80), 7000);

/// Who sends and receives, and what it has seen.
struct Traffic {
    hosts: [(Host, Numbered); 2],
    server: UdpSocket,
    /// Each with the only source that may reach it.
    probed: [(UdpSocket, Ipv4Addr); 2],
    internet: RawSender,
    streams: Vec<Stream>,
    /// Packets of a host's flows in a second.
    rate: u32,
    probes_sent: AtomicU64,
    probes_seen: [AtomicU64; 2],
    /// Probes that arrived as neither policy lets them, outside and inside.
    mixtures: [AtomicU64; 2],
}

impl Traffic {
    fn new(lab: &Picture, flows: u64, rate: u32) -> Result<Self> {
        let beside = Ipv4Addr::new(10, 40, 2, 101);
        let private = Host::new(
            (&lab.private_a, beside),
            (&lab.edge, "private0"),
            PRIVATE,
            FIRST_GATEWAY,
        )?;
        let beside = Ipv4Addr::new(10, 20, 1, 10);
        let cloud = Host::new(
            (&lab.web, beside),
            (&lab.edge, "public0"),
            CLOUD,
            CLOUD_PUBLIC,
        )?;
        let probed = |port| roomy_udp(&lab.internet, SocketAddrV4::new(PROBED, port));
        let server = lab.internet.listen("198.51.100.80:8080")?;
        let web = lab.web.listen("10.20.1.10:8080")?;
        let streams = vec![
            Stream::open(&lab.private_b, "198.51.100.80:8080", &server)?,
            Stream::open(&lab.web, "198.51.100.80:8080", &server)?,
            Stream::open(&lab.internet, "198.51.100.20:8080", &web)?,
        ];
        Ok(Self {
            hosts: [private, cloud].map(|host| (host, Numbered::new(flows))),
            server: roomy_udp(&lab.internet, SERVER)?,
            probed: [
                (probed(1000)?, SECOND_GATEWAY),
                (probed(1001)?, FIRST_GATEWAY),
            ],
            internet: lab.internet.raw_sender()?,
            streams,
            rate,
            probes_sent: AtomicU64::new(0),
            probes_seen: Default::default(),
            mixtures: Default::default(),
        })
    }

    /// Lets everything run while `work` does, and until all has arrived.
    fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let (stop, over) = (&AtomicBool::new(false), &AtomicBool::new(false));
        thread::scope(|scope| {
            let mut threads = vec![
                scope.spawn(|| self.echo(over)),
                scope.spawn(|| self.probe(stop)),
            ];
            for each in &self.hosts {
                threads.push(scope.spawn(move || self.send(each, stop)));
                threads.push(scope.spawn(move || self.receive(each, over)));
            }
            for (number, each) in self.probed.iter().enumerate() {
                threads.push(scope.spawn(move || self.watch(number, each, over)));
            }
            for stream in &self.streams {
                threads.push(scope.spawn(move || stream.run(stop)));
            }
            let done = work();
            stop.store(true, Relaxed);
            thread::sleep(Duration::from_millis(500));
            over.store(true, Relaxed);
            for each in threads {
                each.join().expect("a thread of the traffic")?;
            }
            Ok(done)
        })
    }

    fn send(&self, (host, numbered): &(Host, Numbered), stop: &AtomicBool) -> Result<()> {
        steady::paced(stop, self.rate, PAUSE, || numbered.send(host, SERVER))
    }

    fn receive(&self, (host, numbered): &(Host, Numbered), over: &AtomicBool) -> Result<()> {
        host.receive(over, |from, port, payload| {
            if port < FIRST_PORT {
                self.mixtures[1].fetch_add(1, Relaxed);
            } else {
                numbered.seen_back(from, SERVER, port, payload);
            }
        })
    }

    fn echo(&self, over: &AtomicBool) -> Result<()> {
        let mut buffer = [0; 64];
        while let Some((length, from)) = next(over, || self.server.recv_from(&mut buffer))? {
            let std::net::SocketAddr::V4(seen) = from else {
                continue;
            };
            let payload = &buffer[..length];
            let host = self
                .hosts
                .iter()
                .find(|(host, _)| host.public == *seen.ip());
            // What nobody has sent is a packet that somebody misses.
            if let Some((_, numbered)) = host {
                numbered.seen_outside(seen, payload);
            }
            self.server.send_to(payload, from)?;
        }
        Ok(())
    }

    /// Packets of new flows, each of which both policies treat differently.
    fn probe(&self, stop: &AtomicBool) -> Result<()> {
        let (private, _) = &self.hosts[0];
        steady::paced(stop, 1000, PAUSE, || {
            let number = self.probes_sent.fetch_add(1, Relaxed);
            let port = FIRST_PORT + (number % u64::from(u16::MAX - FIRST_PORT)) as u16;
            let packet = |from: Ipv4Addr, to: Ipv4Addr, to_port| {
                let to = SocketAddrV4::new(to, to_port);
                let packet = PacketBuilder::udp(SocketAddrV4::new(from, port), to).build();
                packet[ETHERNET_LEN..].to_vec()
            };
            for to_port in [1000, 1001] {
                private.sender.send(&packet(PRIVATE, PROBED, to_port))?;
            }
            for to_port in [2000, 2001] {
                self.internet
                    .send(&packet(*SERVER.ip(), CLOUD_PUBLIC, to_port))?;
            }
            Ok(())
        })
    }

    fn watch(
        &self,
        number: usize,
        (socket, allowed): &(UdpSocket, Ipv4Addr),
        over: &AtomicBool,
    ) -> Result<()> {
        let mut buffer = [0; 64];
        while let Some((_, from)) = next(over, || socket.recv_from(&mut buffer))? {
            self.probes_seen[number].fetch_add(1, Relaxed);
            if from.ip() != *allowed {
                self.mixtures[0].fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (host, numbered) in &self.hosts {
            let of_host = numbered.faults().into_iter();
            faults.extend(of_host.map(|fault| format!("{}: {fault}", host.address)));
        }
        faults.extend(self.streams.iter().filter_map(|stream| stream.fault()));
        for (place, mixtures) in ["outside", "inside"].iter().zip(&self.mixtures) {
            match mixtures.load(Relaxed) {
                0 => {}
                count => faults.push(format!("{count} probes arrived {place} by a mixture")),
            }
        }
        faults
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = self
            .hosts
            .iter()
            .map(|(_, numbered)| numbered.sent.load(Relaxed));
        let exchanges = self.streams.iter().map(Stream::exchanges);
        write!(
            f,
            "{} packets, {} exchanges of streams, {} times 4 probes, of which {:?} arrived outside",
            packets.sum::<u64>(),
            exchanges.sum::<u64>(),
            self.probes_sent.load(Relaxed),
            self.probes_seen
        )
    }
}

/// For so long; how many were made, and how long the slowest took.
fn apply(api: &mut Api, hook: Hook, time: Duration) -> Result<(u32, Duration)> {
    let texts = [Policy::B, Policy::A].map(|policy| policy.mixed(policy, hook));
    let start = Instant::now();
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while start.elapsed() < time {
        let begun = Instant::now();
        let changes = api.post("/v1/apply?name=policy", &texts[count as usize % 2])?;
        anyhow::ensure!(changes.contains("changed"), "nothing changed: {changes}");
        slowest = slowest.max(begun.elapsed());
        count += 1;
        thread::sleep((EVERY * count).saturating_sub(start.elapsed()));
    }
    Ok((count, slowest))
}

/// NAT_TEST_SECONDS is how long; with more than the usual ten, there are 50,000 flows.
pub fn a_hundred_applies_a_second_lose_nothing(hook: Hook) {
    let seconds = std::env::var("NAT_TEST_SECONDS").ok();
    let seconds = seconds.map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let (flows, rate) = if seconds > 10 {
        (25_000, 5_000)
    } else {
        (1_000, 1_500)
    };
    let mut standing = Standing::with_configuration(hook, &Policy::A.mixed(Policy::A, hook));
    let traffic = Traffic::new(&standing.lab, flows, rate).expect("traffic");
    // What the lab itself loses would be lost here. All flows are established behind it.
    let control = Duration::from_secs(flows / u64::from(rate) + 3);
    traffic
        .run(|| thread::sleep(control))
        .expect("a run without applies");
    let faults = traffic.faults();
    assert!(faults.is_empty(), "without applies: {faults:#?}");
    println!("without applies: {traffic}");

    let mut api = Api::connect(&standing.lab.edge).expect("the API");
    let time = Duration::from_secs(seconds);
    let applied = traffic.run(|| apply(&mut api, hook, time));
    let (count, slowest) = applied.expect("a run").expect("applies");
    println!("{count} applies in {seconds} s, the slowest in {slowest:?}; in all {traffic}");
    let faults = traffic.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", standing.status());
    let seen = traffic
        .probes_seen
        .iter()
        .all(|seen| seen.load(Relaxed) > 0);
    assert!(seen, "one of the policies never held: {traffic}");

    // And a mixture would have been seen.
    let mixture = Policy::A.mixed(Policy::B, hook);
    api.post("/v1/apply?name=mixture", &mixture)
        .expect("a mixture");
    traffic
        .run(|| thread::sleep(Duration::from_secs(1)))
        .expect("a run with a mixture");
    let seen = traffic.mixtures.each_ref().map(|seen| seen.load(Relaxed));
    assert!(!seen.contains(&0), "a mixture goes unseen: {seen:?}");
    standing.assert_running();
}
