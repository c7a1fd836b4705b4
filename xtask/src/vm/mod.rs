//! Runs programs of this workspace in a test VM on another kernel: kernel.rs finds the kernel, modules.rs its
//! modules, initramfs.rs packs both with our programs, qemu.rs boots it, and guest.rs is PID 1 in there.
//!
//! The guest has no disk and no network. Its programs' stdout, stderr and exit status come back apart from each
//! other over one serial line (wire.rs); the kernel's log goes to another and is shown when something fails.

mod cpio;
pub mod guest;
mod initramfs;
pub mod kernel;
mod modules;
mod package;
mod qemu;
mod wire;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{build_ebpf, setup};
use kernel::Kernel;
use qemu::{Accelerator, Machine};

#[derive(clap::Args)]
pub struct Arguments {
    /// The kernel: a version that apt knows (6.1, 6.12, ...), a .deb, or a bzImage
    #[arg(long, value_name = "VERSION|PATH", default_value = "6.1")]
    kernel: String,
    /// How long the VM may take
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    time_limit: u64,
    /// Another program to have in the VM's /bin (may be given more than once)
    #[arg(long, value_name = "PROGRAM")]
    with: Vec<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// `cargo xtask vm`: one program of this machine in the VM.
pub fn command(arguments: &Arguments) -> Result<u8> {
    setup::ensure_vm()?;
    let kernel = Kernel::find(&arguments.kernel)?;
    let [program, rest @ ..] = arguments.command.as_slice() else {
        bail!("no program given");
    };
    let program = PathBuf::from(program);
    let name = program
        .file_name()
        .with_context(|| format!("{} is not a program", program.display()))?;
    let there = format!("/bin/{}", name.to_string_lossy());
    let command: Vec<String> = std::iter::once(there).chain(rest.iter().cloned()).collect();
    let binaries: Vec<PathBuf> = std::iter::once(program)
        .chain(arguments.with.iter().cloned())
        .collect();
    run(
        &kernel,
        &binaries,
        &command,
        Duration::from_secs(arguments.time_limit * 60),
    )
}

/// How long a boot under KVM may take before KVM counts as not working here.
const KVM_PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Boots `kernel` with `binaries` (each at `/bin/<its name>`) and runs `command` there.
///
/// Returns the command's exit status, 128 + the signal if one ended it.
///
/// # Errors
/// When the guest does not boot, dies, or is not done within `limit`; the kernel's last words are in the error.
pub fn run(
    kernel: &Kernel,
    binaries: &[PathBuf],
    command: &[String],
    limit: Duration,
) -> Result<u8> {
    let myself = env::current_exe().context("cannot find out where this program is")?;
    let accelerator = accelerator(kernel, &myself)?;
    let machine = Machine {
        kernel,
        initramfs: &initramfs::pack(&myself, kernel, binaries, command)?,
        accelerator,
    };
    eprintln!("vm: kernel {}, {machine}", kernel.name);
    let start = Instant::now();
    let status = machine.boot(limit)?;
    eprintln!("vm: done in {:.1} s", start.elapsed().as_secs_f32());
    Ok(status)
}

/// KVM where a guest gets to userspace under it, else emulation. On some machines `/dev/kvm` is there and the
/// guest hangs, so a boot is tried, and the answer kept until this machine boots again.
fn accelerator(kernel: &Kernel, myself: &Path) -> Result<Accelerator> {
    if fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Ok(Accelerator::Tcg);
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let answer_file = build_ebpf::cache_dir().join("kvm-works");
    let answers = [(Accelerator::Kvm, "yes"), (Accelerator::Tcg, "no")];
    if let Ok(kept) = fs::read_to_string(&answer_file)
        && let Some((accelerator, _)) = answers
            .iter()
            .find(|(_, word)| kept == answer(&boot_id, word))
    {
        return Ok(*accelerator);
    }

    eprintln!(
        "vm: trying a boot under KVM (once, {} s at most)",
        KVM_PROBE_LIMIT.as_secs()
    );
    let initramfs = initramfs::pack(
        myself,
        kernel,
        &[],
        &["/init".to_owned(), guest::PROBE.to_owned()],
    )?;
    let probe = Machine {
        kernel,
        initramfs: &initramfs,
        accelerator: Accelerator::Kvm,
    };
    let works = probe.boot(KVM_PROBE_LIMIT).is_ok_and(|status| status == 0);
    let (accelerator, word) = answers[usize::from(!works)];
    // Not keeping the answer costs the next run its probe, no more.
    _ = fs::create_dir_all(build_ebpf::cache_dir());
    _ = fs::write(&answer_file, answer(&boot_id, word));
    Ok(accelerator)
}

fn answer(boot_id: &str, word: &str) -> String {
    format!("{} {word}\n", boot_id.trim())
}
