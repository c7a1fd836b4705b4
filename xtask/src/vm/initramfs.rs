//! The guest's whole file system: this program as `/init`, our programs with their shared libraries, the modules.

use std::{
    collections::BTreeSet,
    env,
    fs::File,
    io::BufWriter,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{cpio::Archive, guest, kernel::Kernel, modules};

/// Passed on to the guest when set here.
const VARIABLES: [&str; 3] = ["RUST_BACKTRACE", "RUST_LOG", "NO_COLOR"];

/// Packs the file system into memory: nothing is left behind, however this program ends.
///
/// `binaries` become `/bin/<name>`; the guest runs `command`.
pub fn pack(
    init: &Path,
    kernel: &Kernel,
    binaries: &[PathBuf],
    command: &[String],
) -> Result<OwnedFd> {
    // Without close-on-exec: qemu opens it as /proc/self/fd/<number>.
    let memory = memfd_create(c"nat-initramfs", MFdFlags::empty())
        .context("cannot make a file in memory")?;
    let copy = memory
        .try_clone()
        .context("cannot duplicate a descriptor")?;
    let mut archive = Archive::new(BufWriter::new(File::from(copy)));

    write(&mut archive, init, kernel, binaries, command)?;
    archive
        .finish()
        .context("cannot write the initramfs to memory")?;
    Ok(memory)
}

fn write<W: std::io::Write>(
    archive: &mut Archive<W>,
    init: &Path,
    kernel: &Kernel,
    binaries: &[PathBuf],
    command: &[String],
) -> Result<()> {
    const FULL: &str = "cannot write the initramfs to memory";
    for folder in guest::FOLDERS {
        archive.directory(Path::new(folder)).context(FULL)?;
    }
    // There before devtmpfs is: the kernel opens the one, Rust's start-up the other.
    archive
        .character_device(Path::new("/dev/console"), 0o600, (5, 1))
        .context(FULL)?;
    archive
        .character_device(Path::new("/dev/null"), 0o666, (1, 3))
        .context(FULL)?;

    let mut libraries = BTreeSet::new();
    let mut programs = vec![(init, PathBuf::from("/init"))];
    for binary in binaries {
        let name = binary
            .file_name()
            .with_context(|| format!("{} is not a program", binary.display()))?;
        programs.push((binary, Path::new("/bin").join(name)));
    }
    for (from, to) in programs {
        archive.file(&to, 0o755, &read(from)?).context(FULL)?;
        libraries.extend(shared_libraries(from)?);
    }
    for library in &libraries {
        archive
            .file(library, 0o755, &read(library)?)
            .context(FULL)?;
    }

    let mut order = Vec::new();
    if let Some(folder) = &kernel.modules {
        for module in modules::collect(folder)? {
            let path = Path::new(guest::MODULES).join(format!("{}.ko", module.name));
            archive.file(&path, 0o644, &module.content).context(FULL)?;
            order.push(module.name);
        }
    }
    archive
        .file(Path::new(guest::MODULE_ORDER), 0o644, &guest::list(&order))
        .context(FULL)?;
    archive
        .file(Path::new(guest::COMMAND), 0o644, &guest::list(command))
        .context(FULL)?;
    let variables = VARIABLES
        .iter()
        .filter_map(|name| Some(format!("{name}={}", env::var(name).ok()?)));
    archive
        .file(
            Path::new(guest::ENVIRONMENT),
            0o644,
            &guest::list(&variables.collect::<Vec<_>>()),
        )
        .context(FULL)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // Cargo points LD_LIBRARY_PATH at its own folders; the guest has none of them.
    let output = Command::new("ldd")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .output();
    let output = output
        .context("cannot start ldd, which belongs to the C library (Debian: package libc-bin)")?;
    // ldd fails on a static program, and says so on stdout or stderr: that one needs no library.
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = said.lines().find(|line| line.contains("not found")) {
        bail!(
            "{} needs a library that is not installed: {}",
            program.display(),
            missing.trim()
        );
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let is_static =
        said.contains("statically linked") || complaint.contains("not a dynamic executable");
    if !output.status.success() && !is_static {
        bail!(
            "ldd cannot say what {} needs: {}",
            program.display(),
            complaint.trim()
        );
    }
    Ok(parse_ldd(&said))
}

/// `name => /path (address)` and `/path (address)` have a file; the kernel's own `linux-vdso` has none.
fn parse_ldd(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line
            .split_once("=>")
            .map_or(line, |(_, found)| found)
            .trim();
        let path = line.rsplit_once(" (").map_or(line, |(path, _)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    said.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_and_the_loader() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f01)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f02)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f03)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse_ldd(said), expected.map(PathBuf::from));
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }

    #[test]
    fn the_libraries_of_a_real_program_are_found() {
        let libraries = shared_libraries(&env::current_exe().unwrap()).unwrap();
        assert!(libraries.iter().all(|library| library.is_file()));
    }
}
