//! PID 1 of the test VM: this program, run as `/init` from the initramfs that initramfs.rs made.
//!
//! Mounts what a Linux system has mounted, loads the modules, brings lo up, runs one command, sends its output and
//! its status over the serial line (wire.rs), and ends the machine. Nothing here runs on the host.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Write as _},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Command, ExitStatus, Stdio, exit},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    libc,
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        resource::{Resource, setrlimit},
        socket::{AddressFamily, SockFlag, SockType, socket},
        termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr},
        wait::{WaitStatus, wait},
    },
};

use super::wire::{self, Frame};
use crate::tool;

/// A command that shows that the guest gets this far.
pub const PROBE: &str = "--probe";
pub const COMMAND: &str = "/vm/command";
pub const ENVIRONMENT: &str = "/vm/environment";
pub const MODULE_ORDER: &str = "/vm/module-order";
pub const MODULES: &str = "/vm/modules";
/// Made in the initramfs; what is mounted needs a place.
pub const FOLDERS: [&str; 9] = [
    "/dev", "/proc", "/sys", "/tmp", "/run", "/root", "/etc", "/bin", "/var",
];

/// The port frames go to; the kernel's console has the first.
const LINE: &str = "/dev/ttyS1";
/// As on a usual host: the kernel starts PID 1 with 4096, too few for thousands of connections.
const OPEN_FILES: u64 = 524_288;
/// What a child left running may still have to say after the command itself is done.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Words in a file of the initramfs, each ended by a zero byte.
pub fn list(words: &[String]) -> Vec<u8> {
    words
        .iter()
        .flat_map(|word| [word.as_bytes(), b"\0"].concat())
        .collect()
}

/// Whether this process is the test VM's PID 1.
pub fn is_guest() -> bool {
    std::process::id() == 1 && env::args_os().next().is_some_and(|name| name == "/init")
}

pub fn main() -> ! {
    if let Err(error) = boot() {
        eprintln!("init: {error:#}");
    }
    // qemu runs with -no-reboot: this ends it, also on kernels without ACPI's power-off.
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    eprintln!("init: cannot end the machine: {error}");
    exit(1);
}

fn boot() -> Result<()> {
    file_systems()?;
    let mut line = open_line()?;
    wire::open(&mut line)?;
    let status = prepare().and_then(|()| run(&line)).unwrap_or_else(|error| {
        eprintln!("init: {error:#}");
        _ = Frame::Stderr(format!("vm: {error:#}\n").into_bytes()).write(&mut line);
        1
    });
    Frame::Exit(status).write(&mut line)?;
    tcdrain(&line).context("cannot drain the serial line")
}

fn file_systems() -> Result<()> {
    let mounts = [
        ("devtmpfs", "/dev", None),
        ("proc", "/proc", None),
        ("sysfs", "/sys", None),
        ("tmpfs", "/run", Some("mode=755")),
        ("tmpfs", "/tmp", Some("mode=1777")),
        ("tmpfs", "/dev/shm", Some("mode=1777")),
        ("devpts", "/dev/pts", None),
        ("bpf", "/sys/fs/bpf", Some("mode=700")),
        ("cgroup2", "/sys/fs/cgroup", None),
    ];
    for (kind, place, options) in mounts {
        _ = fs::create_dir_all(place);
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("cannot mount {kind} at {place}"))?;
    }
    for (link, target) in [("/var/run", "/run"), ("/dev/fd", "/proc/self/fd")] {
        std::os::unix::fs::symlink(target, link)
            .with_context(|| format!("cannot make the link {link}"))?;
    }
    fs::create_dir_all("/run/netns").context("cannot make /run/netns")
}

fn open_line() -> Result<File> {
    let line = OpenOptions::new()
        .read(true)
        .write(true)
        .open(LINE)
        .with_context(|| format!("cannot open {LINE}"))?;
    // No translation of line ends, no echo: bytes as they are.
    let mut settings = tcgetattr(&line).with_context(|| format!("{LINE} is not a serial port"))?;
    cfmakeraw(&mut settings);
    tcsetattr(&line, SetArg::TCSANOW, &settings)
        .with_context(|| format!("cannot set up {LINE}"))?;
    Ok(line)
}

fn prepare() -> Result<()> {
    for module in read_list(MODULE_ORDER)? {
        let path = Path::new(MODULES)
            .join(OsStr::from_bytes(&module))
            .with_extension("ko");
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        // No dummy0 that nobody asked for; other modules ignore a parameter they do not have.
        finit_module(file, c"numdummies=0", ModuleInitFlags::empty())
            .with_context(|| format!("the kernel does not load the module {}", path.display()))?;
    }
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
        .context("cannot raise the number of open files")?;
    nix::unistd::sethostname("vm").context("cannot set the host's name")?;
    fs::write("/etc/hosts", "127.0.0.1 localhost vm\n").context("cannot write /etc/hosts")?;
    bring_up_loopback().context("cannot bring lo up")
}

fn bring_up_loopback() -> Result<()> {
    nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::empty(),
        None,
    )?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from)?;
    }
    let flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)?;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: SIOCSIFFLAGS reads an ifreq with a name that ends in zero and the flags, which `request` is.
    unsafe { set_interface_flags(std::os::fd::AsRawFd::as_raw_fd(&socket), &request) }?;
    Ok(())
}

/// Runs the command and returns its exit status.
fn run(line: &File) -> Result<u8> {
    let words = read_list(COMMAND)?;
    let (program, arguments) = words.split_first().context("no command in the initramfs")?;
    if arguments == [PROBE.as_bytes()] {
        return Ok(0);
    }
    let program = OsStr::from_bytes(program);
    let mut command = Command::new(program);
    command
        .args(arguments.iter().map(|word| OsStr::from_bytes(word)))
        .env_clear()
        .envs([
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
            ("LANG", "C.UTF-8"),
        ])
        .current_dir("/root")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for pair in read_list(ENVIRONMENT)? {
        let mut parts = pair.splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            command.env(name, value);
        }
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {} in the VM", program.display()))?;

    let line = Arc::new(Mutex::new(
        line.try_clone()
            .context("cannot duplicate the serial line")?,
    ));
    let (done, finished) = mpsc::channel();
    let streams = [
        child.stdout.take().map(|pipe| {
            (
                Box::new(pipe) as Box<dyn Read + Send>,
                Frame::Stdout as fn(_) -> _,
            )
        }),
        child.stderr.take().map(|pipe| {
            (
                Box::new(pipe) as Box<dyn Read + Send>,
                Frame::Stderr as fn(_) -> _,
            )
        }),
    ];
    for (pipe, frame) in streams.into_iter().flatten() {
        let (line, done) = (Arc::clone(&line), done.clone());
        thread::spawn(move || {
            forward(pipe, frame, &line);
            _ = done.send(());
        });
    }
    drop(done);

    let status = wait_for(child.id())?;
    // Both pipes end with the command, unless something it left behind holds them.
    for _ in 0..2 {
        _ = finished.recv_timeout(LAST_WORDS);
    }
    Ok(tool::exit_code(status))
}

fn forward(mut pipe: impl Read, frame: fn(Vec<u8>) -> Frame, line: &Mutex<File>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        if frame(buffer[..length].to_vec())
            .write(&mut *line)
            .and_then(|()| line.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Waits for one process, and as PID 1 for every other whose parent is gone.
fn wait_for(pid: u32) -> Result<ExitStatus> {
    let pid = i32::try_from(pid)?;
    loop {
        match wait().context("cannot wait for the command")? {
            WaitStatus::Exited(ended, code) if ended.as_raw() == pid => {
                return Ok(ExitStatus::from_raw(code << 8));
            }
            WaitStatus::Signaled(ended, signal, _) if ended.as_raw() == pid => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            _ => {}
        }
    }
}

fn read_list(file: &str) -> Result<Vec<Vec<u8>>> {
    let content = fs::read(file).with_context(|| format!("cannot read {file} of the initramfs"))?;
    let words = content
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>();
    // The last zero byte ends the last word.
    Ok(words
        .split_last()
        .map(|(_, words)| words.to_vec())
        .unwrap_or_default())
}
