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

use crate::standing::Standing;

const EVERY: Duration = Duration::from_millis(10);
/// Senders send some packets, and then wait that long.
const PAUSE: Duration = Duration::from_millis(2);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 80), 7000);
const PROBED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 81);
const FIRST_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const SECOND_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
/// Hosts on the wire only, behind a NAT gateway and with a public IP.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 102);
const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 11);
const CLOUD_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 21);

/// Two policies. Outward, probes to port 1000 leave by the second gateway or not at all, and those to port
/// 1001 by the first one. Inward, what the ACL lets through, the group refuses.
#[derive(Clone, Copy, PartialEq)]
enum Policy {
    A,
    B,
}

impl Policy {
    /// By which gateway, which port is denied on the way out, which one in, and which the group allows.
    const fn linked(self) -> (&'static str, u16, u16, u16) {
        match self {
            Self::A => ("first", 1000, 2000, 2000),
            Self::B => ("second", 1001, 2001, 2001),
        }
    }

    fn text(self, hook: Hook) -> String {
        let (gateway, denied_out, denied_in, allowed_in) = self.linked();
        let (route, rule) = match self {
            Self::A => ("", ""),
            Self::B => (
                r#"{ destination = "203.0.113.0/24", target = "blackhole" },"#,
                r#"{ protocol = "tcp", ports = "9999", source = "203.0.113.0/24" },"#,
            ),
        };
        let allow = |remote| format!(r#"{{ rule = 200, action = "allow", protocol = "all", {remote} = "0.0.0.0/0" }}"#);
        let (from_all, to_all) = (allow("source"), allow("destination"));
        format!(
            r#"[node]
uplink = ["uplink0"]
attach = "{hook}"
[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true
  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  interface = "public0"
  route_table = "public"
  network_acl = "public"
  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  interface = "private0"
  route_table = "private"
  network_acl = "private"
  [[vpc.route_table]]
  name = "public"
  routes = [{{ destination = "0.0.0.0/0", target = "internet-gateway" }}]
  [[vpc.route_table]]
  name = "private"
  routes = [
    {route}
    {{ destination = "{PROBED}/32", target = "nat-gateway:{gateway}" }},
    {{ destination = "0.0.0.0/0", target = "nat-gateway:first" }},
  ]
  [[vpc.nat_gateway]]
  name = "first"
  subnet = "public-a"
  private_ip = "10.20.1.100"
  public_ips = ["{FIRST_GATEWAY}"]
  ports = ["{FIRST_PORT}-65535"]
  [[vpc.nat_gateway]]
  name = "second"
  subnet = "public-a"
  private_ip = "10.20.1.101"
  public_ips = ["{SECOND_GATEWAY}"]
  ports = ["{FIRST_PORT}-65535"]
  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
  security_groups = ["served"]
  [[vpc.instance]]
  name = "cloud"
  subnet = "public-a"
  private_ip = "{CLOUD}"
  public_ip = "{CLOUD_PUBLIC}"
  security_groups = ["served"]
  [[vpc.instance]]
  name = "private"
  subnet = "private-a"
  private_ip = "{PRIVATE}"
  security_groups = ["clients"]
  [[vpc.instance]]
  name = "private-b"
  subnet = "private-a"
  private_ip = "10.40.2.201"
  security_groups = ["clients"]
  [[vpc.security_group]]
  name = "clients"
  [[vpc.security_group]]
  name = "served"
  ingress = [
    {rule}
    {{ protocol = "tcp", ports = "8080", source = "0.0.0.0/0" }},
    {{ protocol = "udp", ports = "{allowed_in}", source = "0.0.0.0/0" }},
  ]
  [[vpc.network_acl]]
  name = "public"
  ingress = [
    {{ rule = 100, action = "deny", protocol = "udp", ports = "{denied_in}", source = "0.0.0.0/0" }},
    {from_all},
  ]
  egress = [{to_all}]
  [[vpc.network_acl]]
  name = "private"
  ingress = [{from_all}]
  egress = [
    {{ rule = 100, action = "deny", protocol = "udp", ports = "{denied_out}", destination = "{PROBED}/32" }},
    {to_all},
  ]
"#
        )
    }
}

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
    mixtures: AtomicU64,
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
            probed: [(probed(1000)?, SECOND_GATEWAY), (probed(1001)?, FIRST_GATEWAY)],
            internet: lab.internet.raw_sender()?,
            streams,
            rate,
            probes_sent: AtomicU64::new(0),
            probes_seen: Default::default(),
            mixtures: AtomicU64::new(0),
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
                self.mixtures.fetch_add(1, Relaxed);
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
            let host = self.hosts.iter().find(|(host, _)| host.public == *seen.ip());
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
        steady::paced(stop, 500, PAUSE, || {
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
                self.internet.send(&packet(*SERVER.ip(), CLOUD_PUBLIC, to_port))?;
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
                self.mixtures.fetch_add(1, Relaxed);
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
        match self.mixtures.load(Relaxed) {
            0 => {}
            count => faults.push(format!("{count} probes saw a mixture of both policies")),
        }
        faults
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = self.hosts.iter().map(|(_, numbered)| numbered.sent.load(Relaxed));
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
    let texts = [Policy::B, Policy::A].map(|policy| policy.text(hook));
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
    let (flows, rate) = if seconds > 10 { (25_000, 5_000) } else { (1_000, 1_500) };
    let mut standing = Standing::with_configuration(hook, &Policy::A.text(hook));
    let traffic = Traffic::new(&standing.lab, flows, rate).expect("traffic");
    // What the lab itself loses would be lost here. All flows are established behind it.
    let control = Duration::from_secs(flows / u64::from(rate) + 3);
    traffic.run(|| thread::sleep(control)).expect("a run without applies");
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
    let seen = traffic.probes_seen.iter().all(|seen| seen.load(Relaxed) > 0);
    assert!(seen, "neither policy held: {traffic}");
    standing.assert_running();
}
