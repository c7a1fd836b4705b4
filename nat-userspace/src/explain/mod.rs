//! What the dataplane would do with a packet, and why. The programs say it themselves (`run.rs`): they are
//! loaded once more, to note down their steps and change nothing, and get a packet (`packet.rs`) by the
//! interface that its sender is behind. Steps are put into words in `steps.rs`; what an internet gateway takes
//! is looked up in `internet.rs`.

mod internet;
mod packet;
mod run;
mod steps;

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_common::{
    drop_reason::DropReason,
    flow::protocol,
    map_types::{Interface, Trace},
    policy::Step,
};
use serde::Serialize;

pub use internet::Condition;
pub use steps::StepRecord;

use crate::{
    error::{Error, Result},
    generation::Root,
    held::Held,
    loader,
    pins::Pins,
};

/// The packet that is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its IP protocol.
    pub protocol: u8,
    /// Its source; the port of ICMP is the identifier.
    pub source: SocketAddrV4,
    /// Its destination; the port is 0 where there is none.
    pub destination: SocketAddrV4,
    /// The sender's VPC.
    pub vpc: Option<String>,
    /// The interface it comes by, if the source does not say.
    pub interface: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `tcp`, `udp`, `icmp` or the protocol's number.
    pub protocol: String,
    /// The VPC it comes from; none: from outside.
    pub vpc: Option<String>,
    /// The interface it comes by.
    pub interface: String,
    /// Its source.
    pub source: Ipv4Addr,
    /// Its source port, or ICMP identifier; 0 where there is none.
    pub source_port: u16,
    /// Its destination.
    pub destination: Ipv4Addr,
    /// Its destination port; 0 where there is none.
    pub destination_port: u16,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Of one that is dropped.
    pub reason: Option<&'static str>,
    /// The sender is told: it gets a RST or an ICMP error.
    pub sender_is_told: bool,
    /// The steps, in their order.
    pub steps: Vec<StepRecord>,
    /// What it has become, where it is forwarded.
    pub forwarded: Option<Forwarded>,
    /// What connectivity by the internet gateway takes, where that is in question: the first that fails is the
    /// one to mend first.
    pub internet_gateway: Vec<Condition>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes to its next hop.
    Forward,
    /// It is the host's, unchanged.
    Pass,
    /// The router answers it itself.
    Answer,
    /// It is dropped.
    Drop,
}

/// A packet on its way to the next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// Its source.
    pub source: Ipv4Addr,
    /// Its source port, or ICMP identifier.
    pub source_port: u16,
    /// Its destination.
    pub destination: Ipv4Addr,
    /// Its destination port.
    pub destination_port: u16,
    /// The interface it leaves by.
    pub interface: String,
    /// The next hop.
    pub next_hop: Ipv4Addr,
}

/// Where a packet comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    interface: u32,
    /// `None`: from outside.
    vpc: Option<u16>,
}

/// Times that it is tried, each against a policy that was changed meanwhile.
const TRIES: u32 = 4;

/// Explains.
///
/// # Errors
///
/// [`Error::Usage`] when it is not clear where the packet comes from; otherwise when there is no dataplane, or
/// the kernel refuses.
pub fn explain(pins: &Pins, asked: &Asked) -> Result<Explanation> {
    let root = Root::open(&pins.open(nat_common::map_types::names::GENERATION)?)?;
    let mut tries = 0;
    loop {
        let before = root.load();
        let held = Held::read(pins)?;
        let explanation = explain_by(pins, &held, asked)?;
        tries += 1;
        if root.load() == before || tries == TRIES {
            return Ok(explanation);
        }
    }
}

fn explain_by(pins: &Pins, held: &Held<'_>, asked: &Asked) -> Result<Explanation> {
    let origin = origin(held, asked)?;
    let interface = held.interfaces.get(&origin.interface).copied();
    let interface = interface.unwrap_or_default();
    let sender = match origin.vpc {
        Some(vpc) => held.instance(vpc, *asked.source.ip())?,
        None => None,
    };
    let known = sender
        .map(|instance| instance.mac)
        .filter(|mac| *mac != [0; 6]);
    let frame = packet::frame(asked, known.unwrap_or(packet::SOMEBODY), interface.mac);
    let mut ebpf = loader::load_to_explain(pins)?;
    let ran = run::run(&mut ebpf, &frame, origin.interface)?;
    let verdict = ran.verdict;
    Ok(Explanation {
        protocol: match protocol::name(asked.protocol) {
            "other" => asked.protocol.to_string(),
            name => name.to_owned(),
        },
        vpc: origin.vpc.map(|vpc| held.vpc(vpc)),
        interface: held.interface(origin.interface),
        source: *asked.source.ip(),
        source_port: asked.source.port(),
        destination: *asked.destination.ip(),
        destination_port: asked.destination.port(),
        verdict,
        reason: ran.reason.map(DropReason::name),
        sender_is_told: ran.is_answered && verdict == Verdict::Drop,
        steps: steps::in_words(held, asked, &ran.trace)?,
        forwarded: forwarded(held, &ran.trace),
        internet_gateway: internet::conditions(held, asked, origin, &ran.trace)?,
    })
}

fn forwarded(held: &Held<'_>, trace: &Trace) -> Option<Forwarded> {
    let find = |step: Step| steps::noted(trace).find(|noted| noted.step == step as u32);
    let (source, source_port) = steps::end(find(Step::Source)?);
    let (destination, destination_port) = steps::end(find(Step::Destination)?);
    let hop = find(Step::NextHop)?;
    Some(Forwarded {
        source,
        source_port,
        destination,
        destination_port,
        interface: held.interface(hop.value),
        next_hop: steps::address(hop.detail),
    })
}

/// Finds out where the packet comes in: by the interface of its source's subnet, or else by an uplink.
fn origin(held: &Held<'_>, asked: &Asked) -> Result<Origin> {
    let source = *asked.source.ip();
    let wanted = |name: String| {
        asked
            .interface
            .as_ref()
            .is_none_or(|wanted| *wanted == name)
    };
    let mut found: Vec<Origin> = Vec::new();
    for each in &held.subnets {
        let is_its = each.cidr.contains(&source)
            && wanted(held.interface(each.subnet.interface))
            && asked
                .vpc
                .as_ref()
                .is_none_or(|vpc| *vpc == held.vpc(each.vpc));
        if is_its {
            found.push(Origin {
                interface: each.subnet.interface,
                vpc: Some(each.vpc),
            });
        }
    }
    match found.as_slice() {
        [one] => return Ok(*one),
        [] => {}
        several => {
            let vpcs: Vec<_> = several
                .iter()
                .filter_map(|each| each.vpc)
                .map(|vpc| held.vpc(vpc))
                .collect();
            return Err(Error::Usage(format!(
                "{source} is in several VPCs ({}): name one with --vpc",
                vpcs.join(", ")
            )));
        }
    }
    if let Some(name) = &asked.interface {
        let interfaces = &mut held.interfaces.iter();
        let (&index, interface) = interfaces
            .find(|(index, _)| held.interface(**index) == *name)
            .ok_or_else(|| Error::Usage(format!("{name} is no interface of the dataplane")))?;
        let is_outside = interface.is(Interface::UPLINK) || !interface.is(Interface::INSIDE);
        return Ok(Origin {
            interface: index,
            vpc: (!is_outside).then_some(interface.vpc),
        });
    }
    if let Some(vpc) = &asked.vpc {
        return Err(Error::Usage(format!(
            "no subnet of VPC {vpc} has the address {source}; `nat routes` lists VPCs and subnets"
        )));
    }
    let uplink = held
        .interfaces
        .iter()
        .find(|(_, interface)| interface.is(Interface::UPLINK));
    let (&interface, _) = uplink.ok_or_else(|| {
        Error::Usage(format!(
            "{source} is in no subnet, and there is no uplink that it could come by"
        ))
    })?;
    Ok(Origin {
        interface,
        vpc: None,
    })
}
