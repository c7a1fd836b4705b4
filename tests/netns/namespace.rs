//! A network namespace without a global name, optionally with a mount namespace of its own.
//! Programs that keep files on a node are in daemon.rs, each with a mount namespace of that node.
//! Links between namespaces are made in links.rs; whole labs in picture.rs and nat_instance.rs.
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
};

/// Where a node with its own mounts keeps its BPF file system; nothing outside the node sees it.
pub const BPF_FS: &str = "/sys/fs/bpf";

/// A network namespace kept alive by a file descriptor: it goes when this value and its processes are gone.
#[derive(Clone, Debug)]
pub struct Namespace {
    label: String,
    net: Arc<OwnedFd>,
    mounts: Option<Arc<OwnedFd>>,
    has_bpf_fs: bool,
}

impl Namespace {
    /// A network namespace with `lo` up and IPv6 off.
    pub fn new(label: &str) -> Result<Self> {
        Self::create(label, false)
    }

    /// The same with private mounts: sysfs of this namespace on /sys, and a BPF file system, /run and /var/lib/nat of its own.
    pub fn with_own_mounts(label: &str) -> Result<Self> {
        Self::create(label, true)
    }

    fn create(label: &str, own_mounts: bool) -> Result<Self> {
        let (net, mounts) = in_a_thread(|| {
            let mut flags = CloneFlags::CLONE_NEWNET;
            flags.set(CloneFlags::CLONE_NEWNS, own_mounts);
            unshare(flags).context("no namespace to be had: it takes root (CAP_SYS_ADMIN)")?;
            if own_mounts {
                mount_privately()?;
            }
            for scope in ["all", "default"] {
                write_setting(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
            }
            let net = File::open("/proc/thread-self/ns/net").context("/proc/thread-self/ns/net")?;
            let mounts = match own_mounts {
                true => Some(own_mount_namespace()?),
                false => None,
            };
            Ok((net, mounts))
        })
        .with_context(|| format!("making node {label}"))?;
        let namespace = Self {
            label: label.to_owned(),
            net: Arc::new(net.into()),
            mounts: mounts.map(|fd| Arc::new(fd.into())),
            has_bpf_fs: own_mounts,
        };
        namespace.up("lo")?;
        Ok(namespace)
    }

    /// The same node with a /run and a /dev/shm that this value alone has, and whose programs ask `resolver`, if
    /// there is one, for names. Files there go with it and its processes, however these end.
    pub fn with_own_files(&self, resolver: Option<&str>) -> Result<Self> {
        let mounts = self.run(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
            make_private()?;
            // Before /run is covered, where a link may lead.
            let resolv_conf = fs::canonicalize(RESOLV_CONF).context(RESOLV_CONF);
            for path in ["/run", "/dev/shm"] {
                mount_tmpfs(path)?;
            }
            if let Some(server) = resolver {
                put_over(&resolv_conf?, &format!("nameserver {server}\n"))?;
            }
            own_mount_namespace()
        })?;
        Ok(Self {
            mounts: Some(Arc::new(mounts.into())),
            has_bpf_fs: false,
            ..self.clone()
        })
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it was made by [`Namespace::with_own_mounts`], as nodes with a dataplane are.
    pub fn has_own_mounts(&self) -> bool {
        self.has_bpf_fs
    }

    /// The descriptor a netlink request names this namespace by.
    pub fn raw_fd(&self) -> RawFd {
        self.net.as_raw_fd()
    }

    /// Runs `work` in a thread of this namespace. Sockets made there stay in it, whoever uses them afterwards.
    /// Don't spawn long-lived processes in it: they die with the thread; use [`Namespace::command`] outside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_a_thread(|| {
            if let Some(mounts) = &self.mounts {
                // A mount namespace can be entered only by a thread that shares no working directory.
                unshare(CloneFlags::CLONE_FS)?;
                setns(mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
            }
            setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET)?;
            work()
        })
        .with_context(|| format!("on {}", self.label))
    }

    /// A command that will run in this namespace and be killed when the spawning thread ends.
    /// With own mounts its working directory is `/`: name the program by an absolute path.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let (net, mounts) = (Arc::clone(&self.net), self.mounts.clone());
        let enter = move || -> io::Result<()> {
            if let Some(mounts) = &mounts {
                setns(mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
            }
            setns(net.as_fd(), CloneFlags::CLONE_NEWNET)?;
            SigSet::empty().thread_set_mask()?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        };
        // SAFETY: between fork and exec `enter` makes system calls only: it neither allocates nor locks.
        unsafe { command.pre_exec(enter) };
        // Ctrl-C at the terminal is for the lab, which then ends its processes in order.
        command.process_group(0);
        command
    }

    /// Writes /proc/sys/`name` (slashes between the parts) as this namespace sees it.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| write_setting(name, value))
    }

    /// A shell line that enters this node while the lab is held.
    pub fn how_to_enter(&self) -> String {
        let pid = std::process::id();
        let net = self.net.as_raw_fd();
        let mounts = match &self.mounts {
            Some(fd) => format!(" --mount=/proc/{pid}/fd/{}", fd.as_raw_fd()),
            None => String::new(),
        };
        format!("nsenter --net=/proc/{pid}/fd/{net}{mounts} bash")
    }
}

/// Runs `work` in a thread of its own, so that namespace changes end with it; a panic goes on in the caller.
fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// /proc/sys/net shows the network namespace of the thread that opens it.
fn write_setting(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    match fs::write(&path, value) {
        // A kernel without the protocol has nothing to set.
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("net/ipv6/") => {
            Ok(())
        }
        outcome => outcome.with_context(|| format!("cannot write {value} to {path}")),
    }
}

const NONE: Option<&str> = None;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// That of the calling thread.
fn own_mount_namespace() -> Result<File> {
    File::open("/proc/thread-self/ns/mnt").context("/proc/thread-self/ns/mnt")
}

fn mount_privately() -> Result<()> {
    make_private()?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE)
        .context("mounting sysfs on /sys")?;
    mount(Some("bpf"), BPF_FS, Some("bpf"), MsFlags::empty(), NONE)
        .with_context(|| format!("mounting bpf on {BPF_FS}"))?;
    // Files, control sockets and stores of several labs must not meet.
    for path in ["/run", "/var/lib/nat"] {
        mount_tmpfs(path)?;
    }
    Ok(())
}

fn make_private() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("making the mounts private")
}

fn mount_tmpfs(path: &str) -> Result<()> {
    // A guest may have come up without /run.
    fs::create_dir_all(path).with_context(|| format!("making {path}"))?;
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), NONE)
        .with_context(|| format!("mounting tmpfs on {path}"))
}

/// Has a file read as `text` in the calling thread's mount namespace, whose /run is its own.
fn put_over(path: &Path, text: &str) -> Result<()> {
    let in_run = path.starts_with("/run");
    let place = if in_run { path } else { Path::new("/run/over") };
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(place, text).with_context(|| place.display().to_string())?;
    if !in_run {
        mount(Some(place), path, NONE, MsFlags::MS_BIND, NONE)
            .with_context(|| format!("mounting on {}", path.display()))?;
    }
    Ok(())
}
