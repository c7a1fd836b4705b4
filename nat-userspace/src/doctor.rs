//! What the dataplane needs of this host, checked without changing anything that lasts.

use std::{fs, thread};

use aya::util::KernelVersion;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use serde::Serialize;

use crate::{
    config::{Attach, Config},
    error::chain,
    host,
    loader::{self, LoadOptions},
    overlap,
    pins::Pins,
};

/// The oldest kernel the programs are tested on.
const OLDEST: (u8, u8) = (6, 1);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As wanted.
    Ok,
    /// Works, but not as well as it could.
    Warning,
    /// The dataplane will not work.
    Problem,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it ended.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing.
    pub remedy: String,
}

impl Finding {
    fn new(check: &str, health: Health, found: impl Into<String>, remedy: &str) -> Self {
        let remedy = if health == Health::Ok { "" } else { remedy };
        Self {
            check: check.to_owned(),
            health,
            found: found.into(),
            remedy: remedy.to_owned(),
        }
    }

    fn when(check: &str, fine: bool, found: impl Into<String>, remedy: &str) -> Self {
        Self::new(
            check,
            if fine { Health::Ok } else { Health::Problem },
            found,
            remedy,
        )
    }
}

/// Runs every check; `interfaces` are looked at for `attach`.
pub fn examine(pins: &Pins, interfaces: &[String], attach: Attach) -> Vec<Finding> {
    let mut findings = vec![kernel(), rights(), file_system(pins), jit(), programs()];
    findings.extend(interfaces.iter().flat_map(|name| interface(name, attach)));
    findings
}

/// Networks that are inside and outside at once, as far as the interfaces are there.
pub fn overlaps(config: &Config) -> Vec<Finding> {
    let interfaces: Vec<_> = config
        .interfaces()
        .filter_map(|name| host::interface(name).ok())
        .collect();
    overlap::overlaps(config, &interfaces)
        .iter()
        .map(|overlap| {
            let health = if overlap.is_whole() {
                Health::Problem
            } else {
                Health::Warning
            };
            Finding::new(
                &format!("{}: networks", overlap.uplink),
                health,
                overlap.to_string(),
                "give the hosts inside another network",
            )
        })
        .collect()
}

fn kernel() -> Finding {
    let (major, minor) = OLDEST;
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let found = text.trim().to_owned();
    let recent = KernelVersion::current()
        .is_ok_and(|version| version >= KernelVersion::new(major, minor, 0));
    Finding::when(
        "kernel",
        recent,
        found,
        "kernel 6.1 or later is needed: install a newer one",
    )
}

fn rights() -> Finding {
    let root = nix::unistd::geteuid().is_root();
    let found = if root { "root" } else { "not root" };
    Finding::when(
        "rights",
        root,
        found,
        "run it as root (it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; this check, and to tell instances about themselves, also CAP_SYS_ADMIN; the latter CAP_NET_BIND_SERVICE, too)",
    )
}

fn file_system(pins: &Pins) -> Finding {
    let parent = pins.root().parent().unwrap_or_else(|| pins.root());
    let mounted = statfs(parent).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC);
    let health = if mounted { Health::Ok } else { Health::Warning };
    let found = format!(
        "{} is {}",
        parent.display(),
        if mounted { "mounted" } else { "not mounted" }
    );
    Finding::new(
        "BPF file system",
        health,
        found,
        "`nat run` mounts /sys/fs/bpf itself; for another --pin-dir use `mount -t bpf bpf DIR`",
    )
}

fn jit() -> Finding {
    let path = "/proc/sys/net/core/bpf_jit_enable";
    // The file is there in the first network namespace only; where it is not, nobody can tell.
    let on = fs::read_to_string(path).map_or(true, |text| text.trim() != "0");
    let health = if on { Health::Ok } else { Health::Warning };
    let found = if on {
        "on"
    } else {
        "off: programs are interpreted, several times slower"
    };
    Finding::new("BPF JIT", health, found, "sysctl net.core.bpf_jit_enable=1")
}

/// Loads the programs where nobody sees them: in a mount namespace with a BPF file system of its own.
fn programs() -> Finding {
    const CHECK: &str = "programs";
    const REMEDY: &str = "the kernel's message names the missing part: BPF, BPF_SYSCALL, BPF_JIT, \
                          NET_CLS_ACT and NET_SCH_INGRESS are needed in its configuration";
    let loaded = thread::spawn(|| -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("unshare: {errno}"))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .and_then(|()| {
                mount(
                    Some("bpf"),
                    "/sys/fs/bpf",
                    Some("bpf"),
                    MsFlags::empty(),
                    none,
                )
            })
            .map_err(|errno| format!("mounting a private BPF file system: {errno}"))?;
        let pins = Pins::new("/sys/fs/bpf/doctor");
        pins.create().map_err(|error| error.to_string())?;
        loader::load(&pins, 1024, LoadOptions::default())
            .map(drop)
            .map_err(|error| chain(&error))
    })
    .join()
    .unwrap_or_else(|_| Err("the check itself failed".to_owned()));
    match loaded {
        Ok(()) => Finding::new(CHECK, Health::Ok, "the kernel accepts them", ""),
        Err(reason) => Finding::new(CHECK, Health::Problem, reason, REMEDY),
    }
}

fn interface(name: &str, attach: Attach) -> Vec<Finding> {
    let check = |what: &str| format!("{name}: {what}");
    let found = match host::interface(name) {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::new(
                &check("interface"),
                Health::Problem,
                error.to_string(),
                "name one that exists",
            )];
        }
    };
    let mut findings = Vec::new();
    let flags = fs::read_to_string(format!("/sys/class/net/{name}/operstate")).unwrap_or_default();
    let up = flags.trim() != "down";
    findings.push(Finding::when(
        &check("link"),
        up,
        flags.trim(),
        "ip link set dev INTERFACE up",
    ));
    let kind = if found.is_physical {
        "a device"
    } else {
        "virtual"
    };
    let xdp_on_virtual = !found.is_physical && matches!(attach, Attach::Xdp | Attach::XdpGeneric);
    findings.push(Finding::new(
        &check("hook"),
        if xdp_on_virtual { Health::Warning } else { Health::Ok },
        format!("{kind}, attach = {}", attach.name()),
        "packets from a virtual peer carry partial checksums that XDP can't complete: turn them off at \
         the peer (`ethtool -K PEER tx off`) or use attach = \"tc\"",
    ));
    let others = fs::read_to_string(format!("/sys/class/net/{name}/mtu")).unwrap_or_default();
    let mtu: u32 = others.trim().parse().unwrap_or(0);
    let too_large = matches!(attach, Attach::Xdp) && mtu > 3498;
    findings.push(Finding::new(
        &check("MTU"),
        if too_large {
            Health::Warning
        } else {
            Health::Ok
        },
        mtu.to_string(),
        "native XDP takes frames of one page: set the MTU to 3498 or less, or use attach = \"tc\"",
    ));
    findings
}
