//! What each NAT gateway, endpoint (`endpoints`) and load balancer does, under the names that AWS gives these figures. The programs count it; what
//! connections live the table of sessions says, and the controller watches for peaks.

mod endpoints;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{Array, Map, MapData, PerCpuArray, PerCpuValues},
};
use nat_common::{
    flow::protocol,
    map_types::{
        Gateway, GatewayCounter, GatewayPeak, GatewayTraffic, Instance, NameKey, SERVICES, TRACKER,
        names,
    },
    tcp_state::{self, TcpState},
    wire::TcpFlags,
};
use serde::Serialize;
use serde_json::Value;

use self::endpoints::Targets;
pub use self::endpoints::{
    EndpointFigures, EndpointMetrics, LoadBalancerFigures, LoadBalancerMetrics,
};
use crate::{
    bpf_batch,
    endpoints::{EndpointType, Owner},
    error::{Error, Result},
    generation::Side,
    held::Held,
    pins::Pins,
    sessions,
};

/// The figures of a NAT gateway. Its clients in the VPC are the source, whom they talk to the destination.
/// Those from the first to the last packet only grow, apart from active connections and peaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewayMetrics {
    /// Its VPC.
    pub vpc: String,
    /// Its name.
    pub gateway: String,
    /// See [`Figures`].
    #[serde(flatten)]
    pub figures: Figures,
}

/// Packets and bytes are those that were translated, bytes from the IP header on: as many come in on one
/// side as go out on the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Figures {
    /// TCP connections that both ends have opened and none has closed.
    pub active_connection_count: u64,
    /// First packets of TCP connections.
    pub connection_attempt_count: u64,
    /// TCP connections that both ends have opened.
    pub connection_established_count: u64,
    /// Sessions that found no port free.
    pub error_port_allocation: u64,
    /// Sessions that ended because nothing came for too long; not TCP connections that were over.
    pub idle_timeout_count: u64,
    /// Packets dropped on their way through it.
    pub packets_drop_count: u64,
    /// From the VPC.
    pub packets_in_from_source: u64,
    /// The same, on their way out.
    pub packets_out_to_destination: u64,
    /// From outside.
    pub packets_in_from_destination: u64,
    /// The same, on their way to the VPC.
    pub packets_out_to_source: u64,
    /// From the VPC.
    pub bytes_in_from_source: u64,
    /// The same, on their way out.
    pub bytes_out_to_destination: u64,
    /// From outside.
    pub bytes_in_from_destination: u64,
    /// The same, on their way to the VPC.
    pub bytes_out_to_source: u64,
    /// In both directions, in the busiest ten seconds of the last minute.
    pub peak_packets_per_second: u64,
    /// Likewise.
    pub peak_bytes_per_second: u64,
}

/// All figures, each list by VPC and name.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Of NAT gateways.
    pub gateways: Vec<GatewayMetrics>,
    /// Of endpoints.
    pub endpoints: Vec<EndpointMetrics>,
    /// Of load balancers.
    pub load_balancers: Vec<LoadBalancerMetrics>,
}

/// The sessions of a gateway.
#[derive(Clone, Copy, Debug, Default)]
struct Live {
    /// TCP connections that both ends have opened.
    established: u64,
    /// Those of them that not both have closed.
    active: u64,
    /// TCP connections that are opening, or active.
    open: u64,
    /// What is no TCP.
    others: u64,
}

/// Reads them. What the flow cache has counted comes with the next look at its session.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Metrics> {
    let held = Held::read(pins)?;
    let addressed: BTreeSet<u32> = held
        .instances()?
        .iter()
        .filter(|each| each.instance.is(Instance::IS_ENDPOINT))
        .map(|each| each.instance.gateway)
        .collect();
    let targets = Targets {
        listeners: held.listeners()?,
        tables: held.target_tables()?,
    };
    let counts = Counts::open(pins)?;
    let peaks = peaks(pins)?;
    let mut before = Vec::new();
    let numbers = numbers(pins)?;
    for &number in &numbers {
        let peak = peaks
            .get(&number, 0)
            .map_err(Error::map(names::GATEWAY_PEAKS))?;
        before.push((number, counts.figures(number)?.with_peak(&peak)));
    }
    // Behind the counts: a connection that ends meanwhile is better missed than seen twice.
    let live = live(pins)?;
    let mut all = Metrics::default();
    for (number, mut figures) in before {
        let live = live.get(&number).copied().unwrap_or_default();
        let full = held.names.get(NameKey::GATEWAY, number);
        let (vpc, _) = full.split_once('/').unwrap_or(("", &full));
        let its = (number, &counts, live);
        match Owner::of(&full) {
            Owner::NatGateway(name) => {
                figures.connection_established_count += live.established;
                figures.active_connection_count += live.active;
                all.gateways.push(GatewayMetrics {
                    vpc: vpc.to_owned(),
                    gateway: name.to_owned(),
                    figures,
                });
            }
            Owner::Endpoint(name) => {
                let kind = if addressed.contains(&number) {
                    EndpointType::Interface
                } else {
                    EndpointType::Gateway
                };
                let metrics = endpoints::of_endpoint(vpc, name, kind, its)?;
                all.endpoints.push(metrics);
            }
            Owner::LoadBalancer(name) => {
                let metrics = endpoints::of_load_balancer(vpc, name, &targets, its)?;
                all.load_balancers.push(metrics);
            }
            // The health checks of proxies are nobody's traffic.
            Owner::Router(_) => {}
        }
    }
    all.gateways
        .sort_by(|a, b| (&a.vpc, &a.gateway).cmp(&(&b.vpc, &b.gateway)));
    all.endpoints
        .sort_by(|a, b| (&a.vpc, &a.endpoint).cmp(&(&b.vpc, &b.endpoint)));
    all.load_balancers
        .sort_by(|a, b| (&a.vpc, &a.load_balancer).cmp(&(&b.vpc, &b.load_balancer)));
    Ok(all)
}

fn live(pins: &Pins) -> Result<BTreeMap<u32, Live>> {
    let mut all: BTreeMap<u32, Live> = BTreeMap::new();
    sessions::for_each(pins, |key, forward, reverse| {
        let live = all.entry(u32::from(forward.gateway())).or_default();
        if key.flow().protocol == protocol::TCP {
            live.add_connection(forward.tcp_seen(), reverse.tcp_seen());
        } else {
            live.others += 1;
        }
    })?;
    Ok(all)
}

/// Of the gateways of the policy that holds.
fn numbers(pins: &Pins) -> Result<Vec<u32>> {
    let here = Side::current(pins)?;
    let mut numbers = Vec::new();
    bpf_batch::for_each(
        &pins.open(names::GATEWAYS)?,
        |place: &u32, gateway: &Gateway| {
            if let Some(number) = here.gateway_at(*place)
                && number < SERVICES
                && *gateway != Gateway::default()
            {
                numbers.push(number);
            }
        },
    )
    .map_err(Error::io("reading the gateways"))?;
    Ok(numbers)
}

/// What the programs count for gateways.
struct Counts {
    counters: PerCpuArray<MapData, u64>,
    traffic: PerCpuArray<MapData, GatewayTraffic>,
}

impl Counts {
    fn open(pins: &Pins) -> Result<Self> {
        let map = |name| Ok::<_, Error>(Map::PerCpuArray(pins.open(name)?));
        Ok(Self {
            counters: PerCpuArray::try_from(map(names::GATEWAY_COUNTERS)?)
                .map_err(Error::map(names::GATEWAY_COUNTERS))?,
            traffic: PerCpuArray::try_from(map(names::GATEWAY_TRAFFIC)?)
                .map_err(Error::map(names::GATEWAY_TRAFFIC))?,
        })
    }

    fn count(&self, number: u32, counter: GatewayCounter) -> Result<u64> {
        let values = self.counters.get(&counter.place(number), 0);
        let values = values.map_err(Error::map(names::GATEWAY_COUNTERS))?;
        Ok(values.iter().sum())
    }

    fn traffic(&self, number: u32) -> Result<GatewayTraffic> {
        let values = self.traffic.get(&number, 0);
        let values = values.map_err(Error::map(names::GATEWAY_TRAFFIC))?;
        Ok(GatewayTraffic::sum(values.iter()))
    }

    /// All but connections that live, and peaks.
    fn figures(&self, number: u32) -> Result<Figures> {
        let traffic = self.traffic(number)?;
        Ok(Figures {
            connection_attempt_count: self.count(number, GatewayCounter::Attempts)?,
            connection_established_count: self.count(number, GatewayCounter::Established)?,
            error_port_allocation: self.count(number, GatewayCounter::PortErrors)?,
            idle_timeout_count: self.count(number, GatewayCounter::IdleTimeouts)?,
            packets_drop_count: self.count(number, GatewayCounter::Drops)?,
            packets_in_from_source: traffic.packets_out,
            packets_out_to_destination: traffic.packets_out,
            packets_in_from_destination: traffic.packets_in,
            packets_out_to_source: traffic.packets_in,
            bytes_in_from_source: traffic.bytes_out,
            bytes_out_to_destination: traffic.bytes_out,
            bytes_in_from_destination: traffic.bytes_in,
            bytes_out_to_source: traffic.bytes_in,
            ..Figures::default()
        })
    }

    /// Begins anew.
    fn reset(&mut self, number: u32, cpus: usize) -> Result<()> {
        for counter in GatewayCounter::ALL {
            let nothing = per_cpu(cpus, 0)?;
            self.counters
                .set(counter.place(number), nothing, 0)
                .map_err(Error::map(names::GATEWAY_COUNTERS))?;
        }
        let nothing = per_cpu(cpus, GatewayTraffic::default())?;
        self.traffic
            .set(number, nothing, 0)
            .map_err(Error::map(names::GATEWAY_TRAFFIC))
    }
}

fn per_cpu<T: Pod>(cpus: usize, value: T) -> Result<PerCpuValues<T>> {
    PerCpuValues::try_from(vec![value; cpus]).map_err(Error::io("counting for no CPU"))
}

impl Figures {
    const fn with_peak(self, peak: &GatewayPeak) -> Self {
        Self {
            peak_packets_per_second: peak.packets_per_second,
            peak_bytes_per_second: peak.bytes_per_second,
            ..self
        }
    }
}

impl Live {
    /// Adds a connection whose ends have sent these flags.
    const fn add_connection(&mut self, seen: TcpFlags, answered: TcpFlags) {
        if seen.and(answered).any(TcpFlags::SYN) {
            self.established += 1;
        }
        match tcp_state::state(seen, answered) {
            TcpState::Opening => self.open += 1,
            TcpState::Established | TcpState::HalfClosed => {
                self.open += 1;
                self.active += 1;
            }
            TcpState::Closing | TcpState::Reset => {}
        }
    }
}

fn peaks(pins: &Pins) -> Result<Array<MapData, GatewayPeak>> {
    let map = Map::Array(pins.open(names::GATEWAY_PEAKS)?);
    Array::try_from(map).map_err(Error::map(names::GATEWAY_PEAKS))
}

/// Begins anew for gateways whose numbers were others'.
///
/// # Errors
///
/// When the maps can't be written.
pub fn reset(pins: &Pins, numbers: &[u32]) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let (mut counts, mut peaks) = (Counts::open(pins)?, peaks(pins)?);
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| Error::io(what)(error))?;
    for &number in numbers.iter().filter(|number| **number < TRACKER) {
        counts.reset(number, cpus)?;
        peaks
            .set(number, GatewayPeak::default(), 0)
            .map_err(Error::map(names::GATEWAY_PEAKS))?;
    }
    Ok(())
}

/// The averages of a minute, of ten seconds each.
#[derive(Debug, Default)]
struct Minute {
    last: Option<GatewayTraffic>,
    averages: VecDeque<GatewayPeak>,
}

impl Minute {
    const AVERAGES: usize = 6;

    /// So much has gone through by now, `elapsed` after the last time; answers the highest average.
    fn observe(&mut self, now: GatewayTraffic, elapsed: Duration) -> GatewayPeak {
        let last = self.last.replace(now).unwrap_or(now);
        let per_second = |figure: fn(&GatewayTraffic) -> u64| {
            let more = figure(&now).saturating_sub(figure(&last));
            (more as f64 / elapsed.as_secs_f64()).round() as u64
        };
        self.averages.push_back(GatewayPeak {
            packets_per_second: per_second(|traffic| traffic.packets_out + traffic.packets_in),
            bytes_per_second: per_second(|traffic| traffic.bytes_out + traffic.bytes_in),
        });
        if self.averages.len() > Self::AVERAGES {
            self.averages.pop_front();
        }
        GatewayPeak {
            packets_per_second: self.highest(|each| each.packets_per_second),
            bytes_per_second: self.highest(|each| each.bytes_per_second),
        }
    }

    fn highest(&self, figure: impl Fn(&GatewayPeak) -> u64) -> u64 {
        self.averages.iter().map(figure).max().unwrap_or(0)
    }
}

/// Watches how much goes through each gateway, and writes down the peaks.
#[derive(Debug)]
pub struct Watch {
    looked: Instant,
    gateways: BTreeMap<u32, Minute>,
}

impl Watch {
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Begins ten seconds after `now`.
    pub const fn new(now: Instant) -> Self {
        Self {
            looked: now,
            gateways: BTreeMap::new(),
        }
    }

    /// Looks, if it is time.
    ///
    /// # Errors
    ///
    /// When the maps can't be read or written.
    pub fn look(&mut self, pins: &Pins, now: Instant) -> Result<()> {
        let elapsed = now.duration_since(self.looked);
        if elapsed < Self::INTERVAL {
            return Ok(());
        }
        self.looked = now;
        let numbers = numbers(pins)?;
        self.gateways.retain(|number, _| numbers.contains(number));
        let (counts, mut peaks) = (Counts::open(pins)?, peaks(pins)?);
        for number in numbers {
            let minute = self.gateways.entry(number).or_default();
            let peak = minute.observe(counts.traffic(number)?, elapsed);
            peaks
                .set(number, peak, 0)
                .map_err(Error::map(names::GATEWAY_PEAKS))?;
        }
        Ok(())
    }
}

/// The figures as Prometheus reads them, in its text format.
pub fn exposition(all: &Metrics) -> String {
    let gateways = Family {
        prefix: "nat_gateway",
        of: "a NAT gateway",
        labels: &["vpc", "gateway"],
        members: objects(&all.gateways),
    };
    let endpoints = Family {
        prefix: "nat_endpoint",
        of: "an endpoint",
        labels: &["vpc", "endpoint", "type"],
        members: objects(&all.endpoints),
    };
    let balancers = Family {
        prefix: "nat_load_balancer",
        of: "a load balancer",
        labels: &["vpc", "load_balancer"],
        members: objects(&all.load_balancers),
    };
    gateways.text() + &endpoints.text() + &balancers.text()
}

type Object = serde_json::Map<String, Value>;

fn objects(members: &[impl Serialize]) -> Vec<Object> {
    let values = members.iter().map(serde_json::to_value);
    let objects = values.filter_map(|value| match value {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    });
    objects.collect()
}

/// Figures of several things of a kind.
struct Family {
    prefix: &'static str,
    of: &'static str,
    labels: &'static [&'static str],
    members: Vec<Object>,
}

impl Family {
    fn text(&self) -> String {
        let mut text = String::new();
        let Some(first) = self.members.first() else {
            return text;
        };
        for (name, _) in first.iter().filter(|(_, value)| value.is_number()) {
            let gauges = ["Active", "Peak", "Healthy", "UnHealthy"];
            let is_gauge = gauges.iter().any(|gauge| name.starts_with(gauge));
            let (kind, suffix) = if is_gauge {
                ("gauge", "")
            } else {
                ("counter", "_total")
            };
            let metric = format!("{}_{}{suffix}", self.prefix, snake(name));
            let _ = writeln!(text, "# HELP {metric} {name} of {}.", self.of);
            let _ = writeln!(text, "# TYPE {metric} {kind}");
            for member in &self.members {
                let labels = self.labels.iter().map(|label| {
                    let value = member.get(*label).and_then(Value::as_str);
                    format!("{label}=\"{}\"", value.unwrap_or_default())
                });
                let labels: Vec<_> = labels.collect();
                let value = member.get(name).unwrap_or(&Value::Null);
                let _ = writeln!(text, "{metric}{{{}}} {value}", labels.join(","));
            }
        }
        text
    }
}

/// `PeakBytesPerSecond` as `peak_bytes_per_second`, `NewFlowCount_TCP` as `new_flow_count_tcp`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    let mut before = '_';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            text.push('_');
        }
        before = letter;
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(packets: u64) -> GatewayTraffic {
        GatewayTraffic {
            packets_out: packets / 2,
            packets_in: packets / 2,
            bytes_out: packets * 100,
            bytes_in: 0,
        }
    }

    #[test]
    fn a_peak_is_the_busiest_ten_seconds_of_the_last_minute() {
        let mut minute = Minute::default();
        let interval = Duration::from_secs(10);
        // What went through before somebody looked is no peak.
        assert_eq!(
            minute.observe(traffic(1000), interval),
            GatewayPeak::default()
        );
        let peak = minute.observe(traffic(1500), interval);
        assert_eq!((peak.packets_per_second, peak.bytes_per_second), (50, 5000));
        for _ in 0..5 {
            assert_eq!(minute.observe(traffic(1500), interval), peak);
        }
        assert_eq!(
            minute.observe(traffic(1500), interval),
            GatewayPeak::default()
        );
        // A gateway that began anew has carried less than before.
        assert_eq!(minute.observe(traffic(0), interval), GatewayPeak::default());
    }

    #[test]
    fn prometheus_gets_a_type_for_each_figure_and_a_line_for_each_gateway() {
        let mut egress = GatewayMetrics {
            vpc: "main".to_owned(),
            gateway: "egress".to_owned(),
            ..GatewayMetrics::default()
        };
        egress.figures.active_connection_count = 3;
        egress.figures.bytes_in_from_source = 1 << 60;
        let mut all = Metrics {
            gateways: vec![egress],
            ..Metrics::default()
        };
        let text = exposition(&all);
        for line in [
            "# TYPE nat_gateway_active_connection_count gauge",
            "nat_gateway_active_connection_count{vpc=\"main\",gateway=\"egress\"} 3",
            "# TYPE nat_gateway_bytes_in_from_source_total counter",
            "nat_gateway_bytes_in_from_source_total{vpc=\"main\",gateway=\"egress\"} 1152921504606846976",
        ] {
            assert!(
                text.lines().any(|each| each == line),
                "{line} is not in\n{text}"
            );
        }
        assert_eq!(text.lines().count(), 16 * 3);

        all.endpoints.push(EndpointMetrics {
            vpc: "main".to_owned(),
            endpoint: "db".to_owned(),
            kind: "interface",
            ..EndpointMetrics::default()
        });
        all.load_balancers.push(LoadBalancerMetrics {
            vpc: "shared".to_owned(),
            load_balancer: "db".to_owned(),
            ..LoadBalancerMetrics::default()
        });
        let text = exposition(&all);
        for line in [
            "# TYPE nat_endpoint_active_connections gauge",
            "nat_endpoint_bytes_processed_total{vpc=\"main\",endpoint=\"db\",type=\"interface\"} 0",
            "# TYPE nat_load_balancer_un_healthy_host_count gauge",
            "nat_load_balancer_new_flow_count_tcp_total{vpc=\"shared\",load_balancer=\"db\"} 0",
        ] {
            assert!(
                text.lines().any(|each| each == line),
                "{line} is not in\n{text}"
            );
        }
        assert_eq!(text.lines().count(), (16 + 4 + 7) * 3);
    }

    #[test]
    fn a_connection_is_open_from_its_first_packet_until_both_ends_have_closed_it() {
        let (syn, fin) = (TcpFlags::SYN, TcpFlags::FIN);
        let both = syn.or(fin);
        let counted = |seen, answered| {
            let mut live = Live::default();
            live.add_connection(seen, answered);
            (live.established, live.active, live.open)
        };
        assert_eq!(counted(syn, TcpFlags::default()), (0, 0, 1));
        assert_eq!(counted(syn, syn), (1, 1, 1));
        assert_eq!(counted(both, syn), (1, 1, 1));
        assert_eq!(counted(both, both), (1, 0, 0));
    }
}
