//! Labs of a NAT instance, which translates to the address its host itself lives on.
//! Two arms: one interface inside, one outside. One arm: a single interface for both.
use anyhow::Result;

use super::{Hook, Namespace, Switch};

/// The instance stands between the private switch and the internet's.
///
/// ```text
/// private-a .101, private-b .201 ─ switch-private ─ private0 10.40.2.1 [edge] uplink0 198.51.100.1 ─ internet .80 .81
/// ```
#[derive(Debug)]
pub struct TwoArm {
    pub hook: Hook,
    pub edge: Namespace,
    pub private_a: Namespace,
    pub private_b: Namespace,
    pub internet: Namespace,
    _switches: [Switch; 2],
}

impl TwoArm {
    pub fn build(hook: Hook) -> Result<Self> {
        let edge = Namespace::with_own_mounts("edge")?;
        let (private_a, private_b, internet) = (
            Namespace::new("private-a")?,
            Namespace::new("private-b")?,
            Namespace::new("internet")?,
        );
        let (private, uplink) = (
            Switch::new("switch-private")?,
            Switch::new("switch-uplink")?,
        );
        edge.set("net/ipv4/ip_forward", "0")?;
        private.plug_edge(&edge, "private0", "10.40.2.1/24", hook)?;
        uplink.plug_edge(&edge, "uplink0", "198.51.100.1/24", hook)?;
        plug_private_hosts(&private, &private_a, &private_b)?;
        uplink.plug(&internet, "eth0", "198.51.100.80/24")?;
        internet.address("eth0", "198.51.100.81/24")?;
        Ok(Self {
            hook,
            edge,
            private_a,
            private_b,
            internet,
            _switches: [private, uplink],
        })
    }

    /// The command line of its controller.
    pub fn arguments(&self) -> [&'static str; 9] {
        arguments("uplink0", "private0", self.hook)
    }
}

/// The instance stands beside the hosts it serves, and reaches the internet through a router on the same segment.
/// The internet has a route to the instance's address alone: what leaves untranslated gets no answer.
///
/// ```text
/// private-a .101 ─┐
/// private-b .201 ─┼─ switch-private ─ eth0 10.40.2.254 [router] uplink0 198.51.100.1 ─ internet .80
/// edge      .1   ─┘
/// ```
#[derive(Debug)]
pub struct OneArm {
    pub hook: Hook,
    pub edge: Namespace,
    pub private_a: Namespace,
    pub private_b: Namespace,
    pub router: Namespace,
    pub internet: Namespace,
    _switches: [Switch; 2],
}

impl OneArm {
    pub fn build(hook: Hook) -> Result<Self> {
        let edge = Namespace::with_own_mounts("edge")?;
        let (private_a, private_b) = (Namespace::new("private-a")?, Namespace::new("private-b")?);
        let (router, internet) = (Namespace::new("router")?, Namespace::new("internet")?);
        let (private, uplink) = (
            Switch::new("switch-private")?,
            Switch::new("switch-uplink")?,
        );
        edge.set("net/ipv4/ip_forward", "0")?;
        router.set("net/ipv4/ip_forward", "1")?;
        private.plug_edge(&edge, "eth0", "10.40.2.1/24", hook)?;
        private.plug(&router, "eth0", "10.40.2.254/24")?;
        uplink.plug(&router, "uplink0", "198.51.100.1/24")?;
        plug_private_hosts(&private, &private_a, &private_b)?;
        uplink.plug(&internet, "eth0", "198.51.100.80/24")?;
        edge.route("0.0.0.0/0", "10.40.2.254")?;
        internet.route("10.40.2.1/32", "198.51.100.1")?;
        Ok(Self {
            hook,
            edge,
            private_a,
            private_b,
            router,
            internet,
            _switches: [private, uplink],
        })
    }

    /// The command line of its controller.
    pub fn arguments(&self) -> [&'static str; 9] {
        arguments("eth0", "eth0", self.hook)
    }
}

fn arguments(uplink: &'static str, inside: &'static str, hook: Hook) -> [&'static str; 9] {
    [
        "run",
        "--uplink",
        uplink,
        "--inside",
        inside,
        "--inside-cidr",
        "10.40.2.0/24",
        "--attach",
        hook.name(),
    ]
}

fn plug_private_hosts(switch: &Switch, private_a: &Namespace, private_b: &Namespace) -> Result<()> {
    for (host, address) in [(private_a, "10.40.2.101/24"), (private_b, "10.40.2.201/24")] {
        switch.plug(host, "eth0", address)?;
        host.route("0.0.0.0/0", "10.40.2.1")?;
    }
    Ok(())
}
