//! Labs made of network namespaces: nodes, links, traffic, and the checks of the main job.
//! `nat-lab` (lab_main.rs) and the end-to-end tests (end_to_end.rs) are built on it.
//!
//! A lab leaves nothing behind, however its process ends: namespaces have no global name and are held
//! by file descriptors alone, and every process started in one dies with the thread that started it.
pub mod api;
pub mod configuration;
pub mod crowd;
pub mod daemon;
pub mod ethtool;
pub mod http;
pub mod icmp;
pub mod leftovers;
pub mod links;
pub mod main_job;
pub mod namespace;
pub mod nat;
pub mod nat_instance;
pub mod numbered;
pub mod obstacles;
pub mod path;
pub mod picture;
pub mod process;
pub mod raw;
pub mod report;
pub mod running;
pub mod sessions;
pub mod site;
pub mod sockets;
pub mod squid;
pub mod steady;
pub mod stun;
pub mod switch;
pub mod told;
pub mod unanswered;
pub mod web_client;
pub mod web_server;

use std::{fmt, str::FromStr, time::Duration};

pub use self::{
    namespace::Namespace,
    nat::{Controller, Nat},
    nat_instance::{OneArm, TwoArm},
    path::Path,
    picture::Picture,
    report::{Check, Report},
    running::Running,
    sessions::Session,
    site::Site,
    sockets::Connection,
    squid::Squid,
    switch::Switch,
    web_server::WebServer,
};

/// How long one exchange (a connect, an accept, a read, a reply) may take: an emulated guest is slow.
pub const EXCHANGE: Duration = Duration::from_secs(10);

/// How long to listen before saying that nothing came.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Where the dataplane is attached on the edge node, by the configuration's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    XdpGeneric,
    Tc,
}

impl Hook {
    pub const ALL: [Self; 3] = [Self::Xdp, Self::XdpGeneric, Self::Tc];

    /// The value of the configuration key `attach`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
        }
    }

    /// XDP sees frames as the wire would carry them: no checksum left to fill in, no segment left to cut.
    pub fn needs_finished_frames(self) -> bool {
        match self {
            Self::Xdp | Self::XdpGeneric => true,
            Self::Tc => false,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Hook {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|hook| hook.name() == text)
            .ok_or_else(|| {
                anyhow::anyhow!("no hook is called {text:?}: use xdp, xdp-generic or tc")
            })
    }
}
