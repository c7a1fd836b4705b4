//! nftables' masquerade, and the connection table behind it. How large that may grow is a setting of
//! the whole machine and not of a namespace: it is raised for the run and set back afterwards.
use std::{
    fs::{self, File},
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nat_tests::netns::Namespace;
use nix::fcntl::{Flock, FlockArg};

use crate::lab::UPLINK;

const MAXIMUM: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
const TIMEOUT: &str = "7200";

/// The machine's limits, raised; dropping it sets them back.
pub struct Raised {
    before: Vec<(&'static str, String)>,
    /// Two runs at a time would set each other's limits back, and disturb each other anyway.
    _lock: Flock<File>,
}

impl Raised {
    /// To as many connections, with a bucket for each. Waits for another run to end.
    pub fn new(connections: u64) -> Result<Self> {
        let file = File::open(BUCKETS)
            .with_context(|| format!("{BUCKETS}: has this kernel connection tracking?"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .context("waiting for another run of the bench")?;
        let mut raised = Self {
            before: Vec::new(),
            _lock: lock,
        };
        for (path, wanted) in [(BUCKETS, connections), (MAXIMUM, connections * 2)] {
            let now = fs::read_to_string(path).context(path)?;
            if now.trim().parse::<u64>()? < wanted {
                fs::write(path, wanted.to_string()).with_context(|| {
                    format!(
                        "{path} can't be raised to {wanted}: only the machine's own namespace may"
                    )
                })?;
                raised.before.push((path, now.trim().to_owned()));
            }
        }
        Ok(raised)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        for (path, value) in self.before.drain(..).rev() {
            if let Err(error) = fs::write(path, &value) {
                eprintln!("warning: {path} could not be set back to {value}: {error}");
            }
        }
    }
}

/// Refuses figures of a table that is shorter of buckets than ours would be: something else on the machine
/// may have set the limits, such as the end of another run.
pub fn has_room(connections: u64) -> Result<()> {
    for path in [BUCKETS, MAXIMUM] {
        let now: u64 = fs::read_to_string(path).context(path)?.trim().parse()?;
        ensure!(
            now >= connections,
            "{path} is {now}, too low for {connections}"
        );
    }
    Ok(())
}

/// Whether `nft` is there.
pub fn nft_answers() -> bool {
    Command::new("nft")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Translates what leaves by the uplink to the uplink's address.
pub fn masquerade(node: &Namespace) -> Result<()> {
    let rules = format!(
        "table ip nat {{ chain post {{ type nat hook postrouting priority srcnat; oifname \"{UPLINK}\" masquerade\n}}\n}}\n"
    );
    let mut nft = node
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nft: install the package nftables")?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    for name in ["udp_timeout", "udp_timeout_stream"] {
        node.set(&format!("net/netfilter/nf_conntrack_{name}"), TIMEOUT)?;
    }
    Ok(())
}

/// Connections in the table of that node.
pub fn count(node: &Namespace) -> Result<u64> {
    node.run(|| {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        let text = fs::read_to_string(path).context(path)?;
        Ok(text.trim().parse()?)
    })
}
