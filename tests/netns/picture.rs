//! The classic picture: two private hosts, a web instance, an edge that translates, and an internet host.
//! Its configuration is in configuration.rs; what must hold in it, in main_job.rs.
//!
//! ```text
//! private-a 10.40.2.101 ─┐
//!                        ├─ switch-private ─ private0 10.40.2.1   ┐
//! private-b 10.40.2.201 ─┘                                        │
//!                                                                edge ─ uplink0 198.51.100.1 ─ switch-uplink ─ internet
//! web       10.20.1.10  ─── switch-public ── public0  10.20.1.1   ┘                           198.51.100.80, .81
//! ```
use anyhow::Result;

use super::{Hook, Namespace, Switch};

/// The nodes of the picture. The internet host knows no route to a private address.
#[derive(Debug)]
pub struct Picture {
    pub hook: Hook,
    pub edge: Namespace,
    pub private_a: Namespace,
    pub private_b: Namespace,
    pub web: Namespace,
    pub internet: Namespace,
    pub switch_private: Switch,
    pub switch_public: Switch,
    pub switch_uplink: Switch,
}

impl Picture {
    /// Interfaces of the edge.
    pub const EDGE_INTERFACES: [&str; 3] = ["private0", "public0", "uplink0"];

    pub fn build(hook: Hook) -> Result<Self> {
        let picture = Self {
            hook,
            edge: Namespace::with_own_mounts("edge")?,
            private_a: Namespace::new("private-a")?,
            private_b: Namespace::new("private-b")?,
            web: Namespace::new("web")?,
            internet: Namespace::new("internet")?,
            switch_private: Switch::new("switch-private")?,
            switch_public: Switch::new("switch-public")?,
            switch_uplink: Switch::new("switch-uplink")?,
        };
        let Self {
            edge,
            private_a,
            private_b,
            web,
            internet,
            ..
        } = &picture;
        // A new namespace may inherit the machine's own setting: every lab starts from the kernel's default.
        edge.set("net/ipv4/ip_forward", "0")?;
        picture
            .switch_private
            .plug_edge(edge, "private0", "10.40.2.1/24", hook)?;
        picture
            .switch_public
            .plug_edge(edge, "public0", "10.20.1.1/24", hook)?;
        picture
            .switch_uplink
            .plug_edge(edge, "uplink0", "198.51.100.1/24", hook)?;
        picture
            .switch_private
            .plug(private_a, "eth0", "10.40.2.101/24")?;
        picture
            .switch_private
            .plug(private_b, "eth0", "10.40.2.201/24")?;
        picture.switch_public.plug(web, "eth0", "10.20.1.10/24")?;
        picture
            .switch_uplink
            .plug(internet, "eth0", "198.51.100.80/24")?;
        internet.address("eth0", "198.51.100.81/24")?;
        private_a.route("0.0.0.0/0", "10.40.2.1")?;
        private_b.route("0.0.0.0/0", "10.40.2.1")?;
        web.route("0.0.0.0/0", "10.20.1.1")?;
        Ok(picture)
    }

    /// Every node, for showing how to enter them.
    pub fn nodes(&self) -> [&Namespace; 8] {
        [
            &self.edge,
            &self.private_a,
            &self.private_b,
            &self.web,
            &self.internet,
            self.switch_private.node(),
            self.switch_public.node(),
            self.switch_uplink.node(),
        ]
    }
}
