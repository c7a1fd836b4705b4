//! `cargo xtask setup`: everything a build needs beyond rustup's toolchain and a C compiler.
//!
//! Each step looks first and is skipped when done; `run` and `test` call [`ensure`], which is silent then.
//! Nothing is put into the user's PATH but Debian packages, which tests, bench and VM need.

use std::{env, fs, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use crate::{
    build_ebpf::{self, BPF_LINKER_VARIABLE, BPF_LINKER_VERSION},
    packages::{self, LAB_PACKAGES, NFTABLES, Package},
    privilege::Privilege,
    tool,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Also install what test VMs need (qemu)
    #[arg(long)]
    vm: bool,
}

const BENCH_PACKAGES: [Package; 1] = [NFTABLES];
const VM_PACKAGES: [Package; 2] = [
    Package::new("qemu-system-x86_64", "qemu-system-x86", "runs the test VM"),
    Package::new("xz", "xz-utils", "unpacks kernel modules"),
];

pub fn command(arguments: &Arguments) -> Result<u8> {
    let done = |line: &str| eprintln!("setup: {line}");
    build_tools(&done)?;
    if arguments.vm {
        vm_packages(&done)?;
    }
    let privilege = Privilege::acquire("running the lab and the tests (not this set-up)")?;
    let how = match privilege {
        Privilege::Root => "this user is root",
        Privilege::Sudo => "by sudo, without a password",
        Privilege::SudoAsking => "by sudo, which asks for a password",
    };
    eprintln!("setup: root for labs: {how}");
    eprintln!("setup: done; next: cargo xtask run");
    Ok(0)
}

/// Installs what the build lacks, and is silent when it lacks nothing.
pub fn ensure_build() -> Result<()> {
    build_tools(&|_| {})
}

/// Installs what test VMs lack, and is silent when they lack nothing.
pub fn ensure_vm() -> Result<()> {
    vm_packages(&|_| {})
}

/// Installs what the tests lack, and is silent when they lack nothing.
pub fn ensure_tests() -> Result<()> {
    packages::ensure("the tests", &LAB_PACKAGES)
}

/// Installs what the bench compares with, and is silent when it is there.
pub fn ensure_bench() -> Result<()> {
    packages::ensure("the bench", &BENCH_PACKAGES)
}

fn build_tools(done: &dyn Fn(&str)) -> Result<()> {
    c_compiler(done)?;
    rust_src(done)?;
    bpf_linker(done)
}

fn c_compiler(done: &dyn Fn(&str)) -> Result<()> {
    if tool::find("cc").is_none() {
        bail!(
            "no C compiler: `cc` is not in the PATH and rustc links with it; \
             install one (Debian: `apt-get install gcc libc6-dev`)"
        );
    }
    done("cc: there");
    Ok(())
}

fn rust_src(done: &dyn Fn(&str)) -> Result<()> {
    let root = tool::workspace_root();
    let installed = || build_ebpf::rust_src_installed(&root).map_err(anyhow::Error::msg);
    if installed()? {
        done("rust-src: there");
        return Ok(());
    }
    const BY_HAND: &str = "the BPF program is built with the toolchain's own source of `core`: install the component \
        rust-src for the toolchain in rust-toolchain.toml (rustup: `rustup component add rust-src`; \
        a distribution's Rust: its package rust-src)";
    if tool::find("rustup").is_none() {
        bail!("rust-src is missing and there is no rustup to add it; {BY_HAND}");
    }
    eprintln!("setup: adding the component rust-src to the pinned toolchain");
    let mut command = Command::new("rustup");
    command
        .args(["component", "add", "rust-src"])
        .current_dir(&root);
    tool::run(&mut command).context(BY_HAND)?;
    if !installed()? {
        bail!("rustup added rust-src, but not to the toolchain of this workspace; {BY_HAND}");
    }
    Ok(())
}

fn bpf_linker(done: &dyn Fn(&str)) -> Result<()> {
    let linker = build_ebpf::linker_path();
    if env::var_os(BPF_LINKER_VARIABLE).is_some_and(|path| !path.is_empty()) {
        if !linker.is_file() {
            bail!(
                "{BPF_LINKER_VARIABLE} names {}, which is not a file; correct the variable or unset it",
                linker.display()
            );
        }
        done(&format!(
            "bpf-linker: {} ({BPF_LINKER_VARIABLE})",
            linker.display()
        ));
        return Ok(());
    }
    if linker_answers() {
        done(&format!("bpf-linker {BPF_LINKER_VERSION}: there"));
        return Ok(());
    }

    eprintln!(
        "setup: building bpf-linker {BPF_LINKER_VERSION} (once, about two minutes on two cores)"
    );
    let start = Instant::now();
    let root = build_ebpf::linker_root();
    fs::create_dir_all(&root).with_context(|| {
        format!(
            "cannot make the folder {}; XDG_CACHE_HOME can name another place",
            root.display()
        )
    })?;
    let mut command = tool::cargo();
    command
        .args([
            "install",
            "bpf-linker",
            "--version",
            BPF_LINKER_VERSION,
            "--locked",
            "--force",
        ])
        // rustc's own LLVM: no LLVM has to be installed.
        .args([
            "--no-default-features",
            "--features",
            "llvm-22,rust-llvm-22",
            "--root",
        ])
        .arg(&root);
    for variable in [
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        command.env_remove(variable);
    }
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    // So that cargo does not ask for it to be put into the user's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::split_paths(&path).chain([root.join("bin")]);
    command.env(
        "PATH",
        env::join_paths(path).context("PATH has a folder that cannot be in it")?,
    );
    tool::run(&mut command).with_context(|| {
        format!(
            "bpf-linker could not be built; with no way to the crate registry, copy a bpf-linker {BPF_LINKER_VERSION} \
             from another machine to {} or name it in {BPF_LINKER_VARIABLE}",
            linker.display()
        )
    })?;
    if !linker_answers() {
        bail!(
            "{} was built but does not run; try `{} --version`",
            linker.display(),
            linker.display()
        );
    }
    eprintln!("setup: bpf-linker built in {} s", start.elapsed().as_secs());
    Ok(())
}

/// An interrupted or damaged installation does not answer, and is made again.
fn linker_answers() -> bool {
    tool::capture(Command::new(build_ebpf::linker_path()).arg("--version")).is_ok_and(|answer| {
        answer
            .split_whitespace()
            .any(|word| word == BPF_LINKER_VERSION)
    })
}

fn vm_packages(done: &dyn Fn(&str)) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!(
            "test VMs are made for x86_64 hosts, this one is {}; leave out --vm",
            env::consts::ARCH
        );
    }
    packages::ensure("the test VM", &VM_PACKAGES)?;
    done("qemu: there");
    Ok(())
}
