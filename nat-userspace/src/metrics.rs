//! What each NAT gateway does, under the names that AWS gives these figures. What live sessions carry is in
//! their table, what others have carried in the gateway's counters.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData, PerCpuArray, PerCpuValues};
use nat_common::{
    flow::protocol,
    map_types::{GatewayCounter, GatewayPeak, NameKey, TRACKER, names},
    tcp_state::{self, TcpState},
    wire::TcpFlags,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    error::{Error, Result},
    pins::Pins,
    sessions::{self, Names},
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

/// Reads them, by VPC and name. A session that ends while they are read counts next time.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<GatewayMetrics>> {
    let names = Names::read(pins)?;
    let numbers: Vec<u32> = numbers(&names).collect();
    let mut figures = carried(pins, &numbers)?;
    let peaks = peaks(pins)?;
    let mut all = Vec::new();
    for (number, name) in names.of_kind(NameKey::GATEWAY) {
        let (vpc, gateway) = name.split_once('/').unwrap_or(("", name));
        let mut figures = figures.remove(&number).unwrap_or_default();
        let peak = peaks
            .get(&number, 0)
            .map_err(Error::map(names::GATEWAY_PEAKS))?;
        figures.peak_packets_per_second = peak.packets_per_second;
        figures.peak_bytes_per_second = peak.bytes_per_second;
        all.push(GatewayMetrics {
            vpc: vpc.to_owned(),
            gateway: gateway.to_owned(),
            figures,
        });
    }
    all.sort_by(|a, b| (&a.vpc, &a.gateway).cmp(&(&b.vpc, &b.gateway)));
    Ok(all)
}

fn numbers(names: &Names) -> impl Iterator<Item = u32> {
    let gateways = names.of_kind(NameKey::GATEWAY);
    gateways
        .map(|(number, _)| number)
        .filter(|&number| number < TRACKER)
}

/// All figures but the peaks, by number of the gateway.
fn carried(pins: &Pins, numbers: &[u32]) -> Result<BTreeMap<u32, Figures>> {
    let counters = counters(pins)?;
    let mut figures = BTreeMap::new();
    // First: what ends afterwards is better missed than seen twice.
    for &number in numbers {
        let count = |counter: GatewayCounter| -> Result<u64> {
            let values = counters
                .get(&counter.place(number), 0)
                .map_err(Error::map(names::GATEWAY_COUNTERS))?;
            Ok(values.iter().sum())
        };
        let mut ended = Figures {
            connection_attempt_count: count(GatewayCounter::Attempts)?,
            connection_established_count: count(GatewayCounter::Established)?,
            error_port_allocation: count(GatewayCounter::PortErrors)?,
            idle_timeout_count: count(GatewayCounter::IdleTimeouts)?,
            packets_drop_count: count(GatewayCounter::Drops)?,
            ..Figures::default()
        };
        ended.add(
            (
                count(GatewayCounter::PacketsOut)?,
                count(GatewayCounter::BytesOut)?,
            ),
            (
                count(GatewayCounter::PacketsIn)?,
                count(GatewayCounter::BytesIn)?,
            ),
        );
        figures.insert(number, ended);
    }
    sessions::for_each(pins, |key, forward, reverse| {
        let Some(figures) = figures.get_mut(&u32::from(forward.owner())) else {
            return;
        };
        figures.add(
            (forward.packets(), forward.bytes()),
            (reverse.packets(), reverse.bytes()),
        );
        if key.flow().protocol != protocol::TCP {
            return;
        }
        let (seen, answered) = (forward.tcp_seen(), reverse.tcp_seen());
        if seen.and(answered).any(TcpFlags::SYN) {
            figures.connection_established_count += 1;
        }
        let state = tcp_state::state(seen, answered);
        if matches!(state, TcpState::Established | TcpState::HalfClosed) {
            figures.active_connection_count += 1;
        }
    })?;
    Ok(figures)
}

impl Figures {
    /// Adds packets and bytes from source to destination, and back.
    const fn add(
        &mut self,
        (packets_out, bytes_out): (u64, u64),
        (packets_in, bytes_in): (u64, u64),
    ) {
        self.packets_in_from_source += packets_out;
        self.packets_out_to_destination += packets_out;
        self.packets_in_from_destination += packets_in;
        self.packets_out_to_source += packets_in;
        self.bytes_in_from_source += bytes_out;
        self.bytes_out_to_destination += bytes_out;
        self.bytes_in_from_destination += bytes_in;
        self.bytes_out_to_source += bytes_in;
    }

    const fn traffic(&self) -> Traffic {
        Traffic {
            packets: self.packets_in_from_source + self.packets_in_from_destination,
            bytes: self.bytes_in_from_source + self.bytes_in_from_destination,
        }
    }
}

fn counters(pins: &Pins) -> Result<PerCpuArray<MapData, u64>> {
    let map = Map::PerCpuArray(pins.open(names::GATEWAY_COUNTERS)?);
    PerCpuArray::try_from(map).map_err(Error::map(names::GATEWAY_COUNTERS))
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
    let (mut counters, mut peaks) = (counters(pins)?, peaks(pins)?);
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| Error::io(what)(error))?;
    for &number in numbers.iter().filter(|number| **number < TRACKER) {
        let first = number * GatewayCounter::COUNT;
        for place in first..first + GatewayCounter::COUNT {
            let nothing =
                PerCpuValues::try_from(vec![0; cpus]).map_err(Error::io("counting for no CPU"))?;
            counters
                .set(place, nothing, 0)
                .map_err(Error::map(names::GATEWAY_COUNTERS))?;
        }
        peaks
            .set(number, GatewayPeak::default(), 0)
            .map_err(Error::map(names::GATEWAY_PEAKS))?;
    }
    Ok(())
}

/// What has gone through a gateway in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

/// The averages of a minute, of ten seconds each.
#[derive(Debug, Default)]
struct Minute {
    last: Option<Traffic>,
    averages: VecDeque<GatewayPeak>,
}

impl Minute {
    const AVERAGES: usize = 6;

    /// So much has gone through by now, `elapsed` after the last time; answers the highest average.
    fn observe(&mut self, now: Traffic, elapsed: Duration) -> GatewayPeak {
        let last = self.last.replace(now).unwrap_or(now);
        let per_second = |more: u64| (more as f64 / elapsed.as_secs_f64()).round() as u64;
        self.averages.push_back(GatewayPeak {
            packets_per_second: per_second(now.packets.saturating_sub(last.packets)),
            bytes_per_second: per_second(now.bytes.saturating_sub(last.bytes)),
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
        let names = Names::read(pins)?;
        let numbers: Vec<u32> = numbers(&names).collect();
        let figures = carried(pins, &numbers)?;
        self.gateways
            .retain(|number, _| figures.contains_key(number));
        let mut peaks = peaks(pins)?;
        for (number, figures) in figures {
            let minute = self.gateways.entry(number).or_default();
            let peak = minute.observe(figures.traffic(), elapsed);
            peaks
                .set(number, peak, 0)
                .map_err(Error::map(names::GATEWAY_PEAKS))?;
        }
        Ok(())
    }
}

/// The figures as Prometheus reads them, in its text format.
pub fn exposition(all: &[GatewayMetrics]) -> String {
    let mut text = String::new();
    let figures = serde_json::to_value(Figures::default());
    let Ok(Value::Object(figures)) = figures else {
        return text;
    };
    for name in figures.keys() {
        let is_gauge = name.starts_with("Active") || name.starts_with("Peak");
        let (kind, suffix) = if is_gauge {
            ("gauge", "")
        } else {
            ("counter", "_total")
        };
        let metric = format!("nat_gateway_{}{suffix}", snake(name));
        let _ = writeln!(text, "# HELP {metric} {name} of a NAT gateway.");
        let _ = writeln!(text, "# TYPE {metric} {kind}");
        for each in all {
            let Ok(Value::Object(values)) = serde_json::to_value(&each.figures) else {
                continue;
            };
            let value = values.get(name).unwrap_or(&Value::Null);
            let _ = writeln!(
                text,
                "{metric}{{vpc=\"{}\",gateway=\"{}\"}} {value}",
                each.vpc, each.gateway
            );
        }
    }
    text
}

/// `PeakBytesPerSecond` as `peak_bytes_per_second`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(packets: u64) -> Traffic {
        Traffic {
            packets,
            bytes: packets * 100,
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
        let text = exposition(&[egress]);
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
    }
}
