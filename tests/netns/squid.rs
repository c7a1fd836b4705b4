//! The machine's own squid on a node: a proxy that is named, and one that connections are redirected to.
use anyhow::Result;

use super::{
    Namespace,
    daemon::{CONFIGURATION, Daemon, FOLDER, Start},
};

/// Where it is asked as a proxy.
pub const PORT: u16 = 3128;
/// Where connections are redirected to that were meant for somebody else.
pub const INTERCEPT_PORT: u16 = 3129;
/// In its folder.
const LOG: &str = "access.log";

/// A running squid, which caches nothing. It is killed when this is dropped.
#[derive(Debug)]
pub struct Squid(Daemon);

impl Squid {
    /// Starts it at all addresses of `node`.
    pub fn start(node: &Namespace) -> Result<Self> {
        let start = Start {
            program: "squid",
            // In the foreground, a single process.
            arguments: &["-N", "-n", "lab", "-f", CONFIGURATION],
            configuration: &configuration(),
            port: INTERCEPT_PORT,
            // It refuses to work as root. What changes its user later would outlive a lab that is killed.
            user: Some("nobody"),
        };
        Ok(Self(Daemon::start(node, &start)?))
    }

    /// Every request, each as `CLIENT DESTINATION URL STATUS HOW SERVER`; `nothing` where there was none.
    /// DESTINATION is where the client connected to, whoever took the connection; HOW is squid's word for how it
    /// found SERVER.
    pub fn log(&self) -> Result<String> {
        self.0.lines(LOG)
    }

    /// The log's last line about this URL, which may still be to come.
    pub fn logged(&self, url: &str) -> Result<String> {
        self.0.line(LOG, &[url])
    }
}

/// `/etc/resolv.conf` and `/etc/hosts` are the machine's own: it is to ask nobody. A connection to a server that is
/// kept would serve another client, whose own destination is then not asked.
fn configuration() -> String {
    format!(
        "http_port 0.0.0.0:{PORT}
http_port 0.0.0.0:{INTERCEPT_PORT} intercept
http_access allow all
cache deny all
cache_mem 0
memory_pools off
logformat ways %>a %>la:%>lp %ru %>Hs %Sh %<a:%<p
access_log stdio:{FOLDER}/{LOG} ways
cache_log {FOLDER}/cache.log
pid_filename {FOLDER}/pid
coredump_dir {FOLDER}
netdb_filename none
pinger_enable off
hosts_file none
dns_nameservers 127.0.0.1
visible_hostname squid
server_persistent_connections off
shutdown_lifetime 0 seconds
connect_timeout 3 seconds
max_filedescriptors 1024
"
    )
}
