//! Builds the BPF object that the binary embeds.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

#[path = "../xtask/src/build_ebpf.rs"]
#[allow(dead_code, reason = "xtask uses the rest")]
mod build_ebpf;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let manifest = env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&manifest)
        .parent()
        .ok_or("the workspace root is missing")?;
    let out = env::var("OUT_DIR")?;
    for source in [
        "nat-ebpf",
        "nat-common",
        "Cargo.toml",
        "Cargo.lock",
        "xtask/src/build_ebpf.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!(
        "cargo::rerun-if-env-changed={}",
        build_ebpf::BPF_LINKER_VARIABLE
    );
    // One folder for all profiles, beside theirs: target/<profile>/build/<package>/out is where this
    // build may write, and `core` need not be compiled again for each.
    let target = Path::new(&out)
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is too short")?;
    let object = build_ebpf::build(root, &target.join("bpf"))?;
    fs::copy(object, Path::new(&out).join("nat-ebpf.o"))?;
    Ok(())
}
