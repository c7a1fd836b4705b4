//! Builds the BPF object that the binary embeds.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use object::{
    build::elf::{Builder, SectionData},
    elf::{SHT_REL, SHT_STRTAB},
};

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
    let whole = fs::read(object)?;
    fs::write(Path::new(&out).join("nat-ebpf.o"), without_dwarf(&whole)?)?;
    Ok(())
}

/// The object without the DWARF that its BTF was made from, and without the relocations of the BTF: no
/// loader applies either, but aya reads through all of them at each start.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        let name = name.strip_prefix(".rel").unwrap_or(&name);
        section.delete =
            name.starts_with(".debug_") || (name.starts_with(".BTF") && section.sh_type == SHT_REL);
    }
    builder.delete_orphans();
    // LLVM keeps the names of symbols and sections in one table, the writer in two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut smaller = Vec::new();
    builder.write(&mut smaller)?;
    Ok(smaller)
}
