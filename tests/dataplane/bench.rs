//! A namespace with the interfaces, routes and neighbours of the classic picture, and the programs
//! loaded in it, to be run by `BPF_PROG_TEST_RUN` with any of the interfaces as ingress.

use std::net::{Ipv4Addr, SocketAddrV4};

use aya::{
    TestRun as _,
    programs::{Program, TestRunOptions},
};
use nat_common::{
    icmp_error::{self, Translated},
    map_types::{Session, SessionKey, names},
    parse, translate,
};
use nat_tests::{
    model::{Actual, DropReason, Model, ModelConfig, Side},
    netns::{
        Namespace,
        links::{End, veth},
    },
    packets::{Ipv4, Mac, Packet},
};
use nat_userspace::{
    bpf_batch, config,
    controller::{self, Controller},
    expiry::Sweeper,
    loader,
    pins::Pins,
    sessions, status,
};

/// An address on the uplink's network that no neighbour entry names.
pub const NEVER_SEEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 250);

const UPLINK: &str = "uplink0";
const INSIDE: [&str; 2] = ["public0", "private0"];
/// Of every interface: what the packets of the fixtures are addressed to.
const EDGE_MAC: Mac = Mac::GATEWAY;
const CONFIG: &str = r#"
[node]
uplink = ["uplink0"]
attach = "xdp"
max_sessions = CAPACITY

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true

  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  interface = "public0"
  route_table = "public"

  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  interface = "private0"
  route_table = "private"

  [[vpc.route_table]]
  name = "public"
  routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]

  [[vpc.route_table]]
  name = "private"
  routes = [
    { destination = "0.0.0.0/0", target = "nat-gateway:egress" },
    { destination = "192.0.2.0/24", target = "blackhole" },
  ]

  [[vpc.nat_gateway]]
  name = "egress"
  subnet = "public-a"
  private_ip = "10.20.1.100"
  public_ips = ["198.51.100.10"]
  GATEWAY_SETTINGS

  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
"#;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `nat_xdp`.
    Xdp,
    /// `nat_tc`.
    Tc,
}

impl Hook {
    /// The kernel makes a test packet of it: for TC it wants a whole IP header behind the Ethernet
    /// header that announces one.
    pub fn takes(self, frame: &[u8]) -> bool {
        let shortest = match (self, frame.get(12..14)) {
            (Self::Tc, Some([0x08, 0x00])) => 34,
            (Self::Tc, Some([0x86, 0xdd])) => 54,
            _ => 14,
        };
        frame.len() >= shortest
    }
}

/// What the program did with a packet.
#[derive(Debug)]
pub enum Outcome {
    Pass(Vec<u8>),
    Drop(&'static str),
    Forward(Vec<u8>),
    Reply(Vec<u8>),
}

impl Outcome {
    pub fn as_actual(&self) -> Actual<'_> {
        match self {
            Self::Pass(frame) => Actual::Pass(frame),
            Self::Drop(reason) => Actual::Drop(
                DropReason::from_name(reason).unwrap_or_else(|| panic!("dropped for {reason}")),
            ),
            Self::Forward(frame) => Actual::Forward {
                egress: None,
                frame,
            },
            Self::Reply(frame) => Actual::Reply(frame),
        }
    }

    pub fn forwarded(&self) -> Option<&[u8]> {
        match self {
            Self::Forward(frame) => Some(frame),
            _ => None,
        }
    }
}

/// See the module.
pub struct Bench {
    edge: Namespace,
    _wire: Namespace,
    controller: Controller,
    pins: Pins,
    hook: Hook,
    drops: Vec<u64>,
}

impl Bench {
    pub fn new(hook: Hook) -> Self {
        Self::with_capacity(hook, 262_144)
    }

    pub fn with_capacity(hook: Hook, capacity: u32) -> Self {
        Self::with_settings(hook, capacity, "")
    }

    /// `gateway` is added to the NAT gateway's table.
    pub fn with_settings(hook: Hook, capacity: u32, gateway: &str) -> Self {
        Self::build(hook, capacity, gateway, true)
    }

    /// On a host that did not forward before.
    pub fn on_closed_host(hook: Hook) -> Self {
        Self::build(hook, 1024, "", false)
    }

    fn build(hook: Hook, capacity: u32, gateway: &str, forwards: bool) -> Self {
        let edge = Namespace::with_own_mounts("edge").unwrap();
        edge.set("net/ipv4/ip_forward", if forwards { "1" } else { "0" })
            .unwrap();
        let wire = Namespace::new("wire").unwrap();
        for (device, address) in [
            (UPLINK, "198.51.100.1/24"),
            (INSIDE[0], "10.20.1.1/24"),
            (INSIDE[1], "10.40.2.1/24"),
        ] {
            let mac = Some(EDGE_MAC.0);
            veth(
                End {
                    node: &edge,
                    device,
                    mac,
                },
                End {
                    node: &wire,
                    device,
                    mac: None,
                },
            )
            .unwrap();
            wire.up(device).unwrap();
            edge.up(device).unwrap();
            edge.address(device, address).unwrap();
        }
        // Destinations of random traffic that are no neighbours lie behind one.
        edge.route("0.0.0.0/0", "198.51.100.254").unwrap();
        for (device, network) in [
            (UPLINK, [198, 51, 100]),
            (INSIDE[0], [10, 20, 1]),
            (INSIDE[1], [10, 40, 2]),
        ] {
            permanent_neighbours(&edge, device, network);
        }
        let text = CONFIG
            .replace("CAPACITY", &capacity.to_string())
            .replace("GATEWAY_SETTINGS", gateway);
        let config = config::parse("bench", &text).unwrap();
        let pins = Pins::new("/sys/fs/bpf/nat");
        let controller = edge
            .run(|| Ok(controller::start(&config, &pins, 0)?))
            .unwrap();
        let mut bench = Self {
            edge,
            _wire: wire,
            controller,
            pins,
            hook,
            drops: Vec::new(),
        };
        bench.drops = bench.drop_counters();
        bench
    }

    /// The reference NAT of the same configuration.
    pub fn model(&self) -> Model {
        Model::new(ModelConfig {
            uplink_mac: EDGE_MAC,
            ..ModelConfig::classic()
        })
    }

    fn device(ingress: Side) -> &'static str {
        match ingress {
            Side::Uplink => UPLINK,
            Side::Inside(number) => INSIDE[number as usize],
        }
    }

    /// Takes an interface and its routes away.
    pub fn take_down(&self, side: Side) {
        let index = self.edge.index(Self::device(side)).unwrap();
        self.edge
            .netlink(|handle| async move {
                let down = rtnetlink::LinkUnspec::new_with_index(index).down().build();
                handle.link().set(down).execute().await
            })
            .unwrap();
    }

    /// Runs the program on one packet.
    pub fn run(&mut self, ingress: Side, frame: &[u8]) -> Outcome {
        let index = self.edge.index(Self::device(ingress)).unwrap();
        let (hook, controller) = (self.hook, &mut self.controller);
        let name = if hook == Hook::Xdp {
            loader::XDP_PROGRAM
        } else {
            loader::TC_PROGRAM
        };
        let program = controller.programs().program(name).unwrap();
        let (action, out) = self
            .edge
            .run(|| test_run(program, hook, index, frame))
            .unwrap_or_else(|error| panic!("{error:#}: {frame:02x?}"));
        self.outcome(action, out)
    }

    /// Runs the program on one packet and says `pass`, `forward`, `reply` or the drop reason.
    pub fn run_for_verdict(&mut self, ingress: Side, frame: &[u8]) -> &'static str {
        match self.run(ingress, frame) {
            Outcome::Pass(_) => "pass",
            Outcome::Forward(_) => "forward",
            Outcome::Reply(_) => "reply",
            Outcome::Drop(reason) => reason,
        }
    }

    /// Runs all packets on several CPUs at once; answers the forwarded frames of each.
    pub fn run_on_cpus(
        &mut self,
        cpus: usize,
        ingress: Side,
        packets: &[Vec<u8>],
    ) -> Vec<Vec<Vec<u8>>> {
        let index = self.edge.index(Self::device(ingress)).unwrap();
        let (hook, edge) = (self.hook, &self.edge);
        let ebpf = self.controller.programs();
        let program = if hook == Hook::Xdp {
            loader::XDP_PROGRAM
        } else {
            loader::TC_PROGRAM
        };
        let program = ebpf.program(program).unwrap();
        let start = std::sync::Barrier::new(cpus);
        let one = || {
            edge.run(|| {
                start.wait();
                packets
                    .iter()
                    .map(|packet| {
                        let (action, out) = test_run(program, hook, index, packet)?;
                        assert!([4, 7].contains(&action), "not forwarded: {action}");
                        Ok(out)
                    })
                    .collect()
            })
            .unwrap()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cpus).map(|_| scope.spawn(one)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    }

    /// One sweep of the controller; answers how many sessions it ended.
    pub fn sweep(&mut self) -> u32 {
        let (pins, controller) = (&self.pins, &mut self.controller);
        self.edge
            .run(|| Ok(Sweeper::new(pins)?.sweep(controller.programs())?))
            .unwrap()
    }

    fn outcome(&mut self, action: u32, out: Vec<u8>) -> Outcome {
        const XDP: [u32; 3] = [2, 1, 4];
        const TC: [u32; 3] = [3, 2, 7];
        let [pass, drop, redirect] = if self.hook == Hook::Xdp { XDP } else { TC };
        let is_arp = out.get(12..14) == Some(&[8, 6]);
        if action == pass {
            Outcome::Pass(out)
        } else if action == drop {
            Outcome::Drop(self.new_drop_reason())
        } else if action == redirect && is_arp {
            Outcome::Reply(out)
        } else if action == redirect {
            Outcome::Forward(out)
        } else {
            panic!("unexpected action {action}");
        }
    }

    fn drop_counters(&self) -> Vec<u64> {
        self.edge
            .run(|| Ok(self.pins.per_cpu_sums(names::DROPS)?))
            .unwrap()
    }

    /// The name of the one reason whose counter went up.
    fn new_drop_reason(&mut self) -> &'static str {
        let now = self.drop_counters();
        let changed: Vec<_> = (0..now.len())
            .filter(|&reason| now[reason] != self.drops[reason])
            .collect();
        assert_eq!(changed.len(), 1, "a dropped packet has exactly one reason");
        assert_eq!(now[changed[0]], self.drops[changed[0]] + 1);
        self.drops = now;
        nat_common::drop_reason::DropReason::ALL[changed[0]].name()
    }

    pub fn drops(&self, reason: &str) -> u64 {
        let status = self.edge.run(|| Ok(status::read(&self.pins)?)).unwrap();
        status.drops.get(reason).copied().unwrap_or(0)
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.edge
            .run(|| Ok(status::read(&self.pins)?))
            .unwrap()
            .counters[name]
    }

    pub fn sessions(&self) -> usize {
        self.count(names::SESSIONS)
    }

    pub fn reverse_sessions(&self) -> usize {
        self.count(names::REVERSE)
    }

    fn count(&self, map: &str) -> usize {
        let mut count = 0;
        self.edge
            .run(|| {
                bpf_batch::for_each::<SessionKey, Session>(&self.pins.open(map)?, |_, _| {
                    count += 1
                })?;
                Ok(())
            })
            .unwrap();
        count
    }

    /// The table holds exactly the model's sessions.
    pub fn table_equals(&self, model: &Model) {
        let records = self.edge.run(|| Ok(sessions::read(&self.pins)?)).unwrap();
        let mut here: Vec<_> = records
            .iter()
            .map(|record| {
                (
                    record.protocol,
                    SocketAddrV4::new(record.source, record.source_port),
                    SocketAddrV4::new(record.destination, record.destination_port),
                    SocketAddrV4::new(record.translated, record.translated_port),
                )
            })
            .collect();
        let mut there: Vec<_> = model
            .sessions()
            .iter()
            .map(|session| {
                let protocol = nat_common::flow::protocol::name(session.flow.protocol);
                (
                    protocol,
                    session.flow.inside,
                    session.flow.remote,
                    session.public,
                )
            })
            .collect();
        here.sort_unstable();
        there.sort_unstable();
        assert_eq!(here, there);
    }
}

fn test_run(
    program: &Program,
    hook: Hook,
    ingress: u32,
    frame: &[u8],
) -> anyhow::Result<(u32, Vec<u8>)> {
    let mut out = vec![0; frame.len() + 64];
    let context = match hook {
        Hook::Xdp => xdp_context(ingress, frame.len()),
        Hook::Tc => tc_context(ingress),
    };
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    let result = match program {
        Program::Xdp(program) => program.test_run(options)?,
        Program::SchedClassifier(program) => program.test_run(options)?,
        other => anyhow::bail!("{:?} is none of ours", other.prog_type()),
    };
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

fn permanent_neighbours(edge: &Namespace, device: &str, network: [u8; 3]) {
    let index = edge.index(device).unwrap();
    edge.netlink(|handle| async move {
        for last in 2..=254 {
            let [a, b, c] = network;
            let address = Ipv4Addr::new(a, b, c, last);
            if address != NEVER_SEEN {
                let mac = [2, 0, a, b, c, last];
                let add = handle.neighbours().add(index, address.into());
                add.link_layer_address(&mac).execute().await?;
            }
        }
        Ok(())
    })
    .unwrap();
}

/// `struct xdp_md`.
fn xdp_context(interface: u32, length: usize) -> Vec<u8> {
    [0, length as u32, 0, interface, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// `struct __sk_buff` as far as the interface index.
fn tc_context(interface: u32) -> Vec<u8> {
    const INTERFACE_WORD: usize = 10;
    let mut words = [0u32; 48];
    words[INTERFACE_WORD] = interface;
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Source of a translated packet; the identifier stands for the port of ICMP.
pub fn source(frame: &[u8]) -> SocketAddrV4 {
    ip(frame).source()
}

fn ip(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// The same translation on a byte slice gives the same IP packet.
pub fn byte_slice_agrees(before: &[u8], after: &[u8]) {
    let mut slice = before.to_vec();
    let parsed = parse::ipv4(slice.as_slice()).unwrap();
    let to = parse::ipv4(after).unwrap();
    if parsed.is_error() {
        let before = icmp_error::quote(slice.as_slice(), &parsed).unwrap();
        let translated = Translated {
            source: to.flow.source,
            destination: to.flow.destination,
            quoted: icmp_error::quote(after, &to).unwrap().flow,
        };
        icmp_error::apply(slice.as_mut_slice(), &parsed, &before, &translated).unwrap();
    } else {
        translate::apply(slice.as_mut_slice(), &parsed, &to.flow).unwrap();
    }
    assert_eq!(slice[14..], after[14..], "byte slice and program differ");
}
