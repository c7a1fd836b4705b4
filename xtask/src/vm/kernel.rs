//! Finds the kernel for a test VM: a distribution's package that apt knows, a .deb, or a bzImage.
//!
//! Packages are unpacked into the cache, never installed. Debian's `cloud` kernels come first: they are small and
//! made for VMs. Ubuntu keeps a kernel's modules in packages of their own, which are fetched with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, Result, bail};

use super::package;
use crate::{
    build_ebpf, packages,
    privilege::Privilege,
    tool::{self, find},
};

pub struct Kernel {
    pub name: String,
    /// A bzImage.
    pub image: PathBuf,
    /// `.../lib/modules/<release>`; without it the kernel must have all it needs built in.
    pub modules: Option<PathBuf>,
}

impl Kernel {
    /// `wanted` is a version (`6.1`, `6.12.43`), or the path of a .deb or of a bzImage.
    pub fn find(wanted: &str) -> Result<Self> {
        let path = Path::new(wanted);
        if path.is_file() {
            return if path.extension().is_some_and(|extension| extension == "deb") {
                from_deb(path)
            } else {
                from_image(path)
            };
        }
        if !package::is_version(wanted) {
            bail!(
                "--kernel {wanted}: neither a file nor a version; \
                 give a version (6.1, 6.12), a .deb of a kernel, or a bzImage"
            );
        }
        from_package(wanted)
    }
}

fn from_package(version: &str) -> Result<Kernel> {
    let unpacked = kernels_dir();
    let kept = package::candidates(&folder_names(&unpacked), version);
    if let Some(name) = kept.first() {
        return in_folder(name, &unpacked.join(name));
    }
    if find("apt-cache").is_none() || find("dpkg-deb").is_none() {
        bail!(
            "no apt here to fetch kernel {version} with; \
             give --kernel the path of a bzImage (its modules are looked for in lib/modules beside boot/)"
        );
    }
    make_folder(&unpacked)?;
    let mut updated = false;
    loop {
        let candidates = package::candidates(&known_packages(version)?, version);
        let fetched = match candidates.first() {
            Some(name) => fetch(name).map(|folder| (name, folder)),
            None => Err(anyhow::anyhow!(
                "apt knows no package linux-image-{version}*"
            )),
        };
        match fetched {
            Ok((name, folder)) => return in_folder(name, &folder),
            // No package lists yet, or old ones that name what is no longer there.
            Err(error) if !updated => {
                eprintln!("vm: {error:#}");
                packages::update_lists(Privilege::acquire("`apt-get update`")?)?;
                updated = true;
            }
            Err(error) => {
                return Err(error.context(format!(
                    "kernel {version} cannot be fetched: this distribution's package lists do not hold it or it \
                     cannot be reached; add a source that does (Debian has 6.1 in bookworm, 6.12 in trixie and \
                     bookworm-security), or download a package linux-image-{version}...-cloud-amd64 and give its \
                     path to --kernel"
                )));
            }
        }
    }
}

fn from_deb(deb: &Path) -> Result<Kernel> {
    let metadata = fs::metadata(deb).with_context(|| format!("cannot read {}", deb.display()))?;
    let changed = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let stem = deb.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("file-{stem}-{}-{}", metadata.len(), changed.as_secs());
    let folder = kernels_dir().join(&name);
    if !folder.is_dir() {
        unpack(&name, &[deb.to_path_buf()])?;
    }
    in_folder(&stem, &folder)
}

fn from_image(image: &Path) -> Result<Kernel> {
    let content = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let release = image_release(&content).with_context(|| {
        format!(
            "{} is not a bzImage; give one (vmlinuz), or a .deb of a kernel",
            image.display()
        )
    })?;
    let beside = image
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"));
    let modules = modules_of(beside, release).or_else(|| modules_of(Path::new("/"), release));
    if modules.is_none() {
        eprintln!(
            "vm: no modules found for {release}: what the lab needs must be built into the kernel"
        );
    }
    Ok(Kernel {
        name: release.to_owned(),
        image: image.to_path_buf(),
        modules,
    })
}

/// The kernel in an unpacked package.
fn in_folder(name: &str, folder: &Path) -> Result<Kernel> {
    let boot = folder.join("boot");
    let image = folder_names(&boot)
        .iter()
        .find(|file| file.starts_with("vmlinuz-"))
        .map(|file| boot.join(file))
        .with_context(|| {
            format!(
                "no boot/vmlinuz-* in {}; is {name} a kernel package?",
                folder.display()
            )
        })?;
    let release = image
        .file_name()
        .and_then(|file| file.to_str()?.strip_prefix("vmlinuz-"));
    let modules = release.and_then(|release| modules_of(folder, release));
    if modules.is_none() {
        bail!(
            "no modules in {}: the package {name} has the kernel alone; \
             unpack it with its modules into one folder and give the path of boot/vmlinuz-* to --kernel",
            folder.display()
        );
    }
    Ok(Kernel {
        name: name.to_owned(),
        image,
        modules,
    })
}

fn modules_of(root: &Path, release: &str) -> Option<PathBuf> {
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(release));
    folders
        .into_iter()
        .find(|folder| folder.join("kernel").is_dir())
}

/// The release in a bzImage's header (Documentation/arch/x86/boot.rst: "HdrS" at 0x202, kernel_version at 0x20e).
fn image_release(image: &[u8]) -> Option<&str> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let offset = u16::from_le_bytes(image.get(0x20e..0x210)?.try_into().ok()?);
    let version = image.get(usize::from(offset) + 0x200..)?;
    let end = version.iter().position(|byte| matches!(byte, b' ' | 0))?;
    std::str::from_utf8(&version[..end])
        .ok()
        .filter(|release| !release.is_empty())
}

fn known_packages(version: &str) -> Result<Vec<String>> {
    let pattern = format!(
        "^linux-image-{}[-.+]",
        version.replace('.', "[.]").replace('+', "[+]")
    );
    let listed =
        tool::capture(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    Ok(package::names(&listed))
}

/// Downloads a kernel's packages and unpacks them into the cache.
fn fetch(name: &str) -> Result<PathBuf> {
    eprintln!("vm: fetching {name}");
    let folder = scratch_folder("download")?;
    let result = download(name, &folder).and_then(|debs| unpack(name, &debs));
    _ = fs::remove_dir_all(&folder);
    result
}

fn download(name: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = vec![name.to_owned()];
    for modules in package::module_packages(name) {
        // Ubuntu's; Debian has no package of that name.
        let pattern = format!("^{}$", modules.replace('.', "[.]").replace('+', "[+]"));
        let listed =
            tool::capture(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
        names.extend(package::names(&listed));
    }
    let mut command = Command::new("apt-get");
    command
        .current_dir(folder)
        .args(["-q", "download"])
        .args(&names);
    tool::capture(&mut command)?;
    let debs = folder_names(folder)
        .into_iter()
        .filter(|file| file.ends_with(".deb"));
    Ok(debs.map(|file| folder.join(file)).collect())
}

fn unpack(name: &str, debs: &[PathBuf]) -> Result<PathBuf> {
    if find("dpkg-deb").is_none() {
        bail!(
            "dpkg-deb is missing, which unpacks .deb packages; give --kernel the path of a bzImage instead"
        );
    }
    let partial = scratch_folder("unpack")?;
    let done = kernels_dir().join(name);
    for deb in debs {
        tool::capture(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(deb)
                .arg(&partial),
        )?;
    }
    // Only a whole one gets the name. Another process may have been faster, and its copy is as good.
    match fs::rename(&partial, &done) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            _ = fs::remove_dir_all(&partial)
        }
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", done.display())),
    }
    Ok(done)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "cannot make the folder {}; XDG_CACHE_HOME can name another place",
            folder.display()
        )
    })
}

/// An empty folder of this process's own. A killed one with the same id may have left something.
fn scratch_folder(purpose: &str) -> Result<PathBuf> {
    let folder = kernels_dir().join(format!(".{purpose}-{}", std::process::id()));
    _ = fs::remove_dir_all(&folder);
    make_folder(&folder)?;
    Ok(folder)
}

fn kernels_dir() -> PathBuf {
    build_ebpf::cache_dir().join("kernels")
}

/// The names in a folder; none when there is no such folder.
fn folder_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_read_from_the_image() {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x80_u16.to_le_bytes());
        image[0x280..0x2a0].copy_from_slice(b"6.1.0-56-cloud-amd64 (a@b) #1\0\0\0");
        assert_eq!(image_release(&image), Some("6.1.0-56-cloud-amd64"));
        image[0x202] = b'X';
        assert_eq!(image_release(&image), None);
        assert_eq!(image_release(b"short"), None);
    }

    #[test]
    fn a_wrong_kernel_is_refused_with_what_to_give() {
        for wanted in ["/no/such/bzImage", "newest", ""] {
            let error = Kernel::find(wanted).err().unwrap().to_string();
            assert!(error.contains("give a version"), "{error}");
        }
    }
}
