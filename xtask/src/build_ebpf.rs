//! How the BPF object is built, and where the linker for it lives.
//!
//! Standard library only: nat-userspace/build.rs includes this file by `#[path]`, so that the build of the
//! object is described once. The linker itself is installed by setup.rs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// 0.10.3 links with the pinned rustc's own LLVM 22; from 0.11 on a system LLVM 23 would be needed.
pub const BPF_LINKER_VERSION: &str = "0.10.3";
/// Names another bpf-linker than the private one.
pub const BPF_LINKER_VARIABLE: &str = "BPF_LINKER";

const PACKAGE: &str = "nat-ebpf";
/// The bench's programs: an object of the same package, beside the other one.
pub const GENERATOR: &str = "nat-generator";
const TARGET: &str = "bpfel-unknown-none";
const FLAG_SEPARATOR: &str = "\x1f";

/// Builds the BPF object in a target folder of its own (cargo locks it) and returns the object's path.
///
/// Cargo's messages go to stderr, nothing goes to stdout: a build script's stdout is read by cargo.
///
/// # Errors
/// Says what is missing or failed and how to mend it.
pub fn build(workspace_root: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let linker = linker_path();
    if !linker.is_file() {
        return Err(format!(
            "the BPF linker is missing: no file at {} (bpf-linker {BPF_LINKER_VERSION}); run `cargo xtask setup`",
            linker.display()
        ));
    }
    if !rust_src_installed(workspace_root)? {
        return Err(
            "rust-src, the source of `core` for the pinned toolchain, is missing; run `cargo xtask setup`".into(),
        );
    }

    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .current_dir(workspace_root)
        // Release always: an unoptimised program does not pass the verifier.
        .args([
            "build",
            "--package",
            PACKAGE,
            "--release",
            "--target",
            TARGET,
        ])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(target_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // What the user or an outer cargo (clippy, a build script's environment) says about the host's build
    // must not reach this one.
    for (name, _) in env::vars_os() {
        if is_host_setting(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
        // -Z on the pinned stable compiler, for this build alone.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&linker));

    let status = command.status().map_err(|error| {
        format!(
            "cannot start {}: {error}; is cargo installed?",
            cargo.display()
        )
    })?;
    if !status.success() {
        return Err(format!(
            "the build of {PACKAGE} for {TARGET} failed ({status}); the compiler's messages are above"
        ));
    }
    let object = target_dir.join(TARGET).join("release").join(PACKAGE);
    if !object.is_file() {
        return Err(format!(
            "the build of {PACKAGE} succeeded but left no object at {}",
            object.display()
        ));
    }
    Ok(object)
}

/// The bpf-linker to use: `$BPF_LINKER`, or the one `cargo xtask setup` keeps in the cache.
pub fn linker_path() -> PathBuf {
    match env::var_os(BPF_LINKER_VARIABLE) {
        Some(path) if !path.is_empty() => path.into(),
        _ => linker_root().join("bin").join("bpf-linker"),
    }
}

/// The folder `cargo install --root` gets.
pub fn linker_root() -> PathBuf {
    cache_dir().join(format!("bpf-linker-{BPF_LINKER_VERSION}"))
}

/// Where everything is kept that outlives `target/`: `$XDG_CACHE_HOME/nat` or `~/.cache/nat`.
pub fn cache_dir() -> PathBuf {
    // The XDG base directory specification: a relative path is invalid and to be ignored.
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("nat")
}

/// Whether the toolchain that builds this workspace has the source of `core`.
pub fn rust_src_installed(workspace_root: &Path) -> Result<bool, String> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(workspace_root)
        .output()
        .map_err(|error| format!("cannot start rustc: {error}; install Rust with rustup"))?;
    if !output.status.success() {
        return Err(format!(
            "`rustc --print sysroot` failed in {}: {}",
            workspace_root.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let sysroot = String::from_utf8_lossy(&output.stdout);
    Ok(Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .is_file())
}

fn rust_flags(linker: &Path) -> OsString {
    // In a build script the variable says what is built for; elsewhere it is this program's own architecture.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    let mut flags = OsString::from(
        [
            format!("--cfg=bpf_target_arch=\"{arch}\"").as_str(),
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            // Small copies and clears as stores in place instead of calls of byte loops.
            "-Clink-arg=--disable-expand-memcpy-in-order",
            // Atomics with a result, 32-bit jumps; in every kernel since 5.12.
            "-Ctarget-cpu=v3",
            "-Clinker=",
        ]
        .join(FLAG_SEPARATOR),
    );
    flags.push(linker);
    flags
}

fn is_host_setting(name: &str) -> bool {
    const EXACT: [&str; 7] = [
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_INCREMENTAL",
    ];
    const PREFIX: [&str; 3] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_BPFEL_"];
    EXACT.contains(&name) || PREFIX.iter().any(|prefix| name.starts_with(prefix))
}
