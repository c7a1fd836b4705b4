//! Where maps and links are pinned: `<pin dir>/layout-<version>/{maps,links}`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray},
};
use nat_common::map_types::LAYOUT_VERSION;
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::{
    attach,
    error::{Error, Result},
    loader,
};

/// Where pins go when nobody says otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/nat";
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

/// A pin folder.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Of this folder; nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn layout_name() -> String {
        format!("layout-{LAYOUT_VERSION}")
    }

    fn layout(&self) -> PathBuf {
        self.root.join(Self::layout_name())
    }

    /// Folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Folder of the links.
    pub fn links(&self) -> PathBuf {
        self.layout().join("links")
    }

    /// Pin of one map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// A dataplane of this layout is pinned.
    pub fn exist(&self) -> bool {
        self.maps().is_dir()
    }

    /// Makes the folders, and mounts the BPF file system when it isn't.
    ///
    /// # Errors
    ///
    /// Missing rights, a folder that is not on a BPF file system, or a dataplane of another layout.
    pub fn create(&self) -> Result<()> {
        self.mount_bpf_file_system()?;
        self.refuse_other_layouts()?;
        for folder in [self.maps(), self.links()] {
            fs::create_dir_all(&folder)
                .map_err(Error::io(format!("making {}", folder.display())))?;
        }
        Ok(())
    }

    fn mount_bpf_file_system(&self) -> Result<()> {
        let is_bpf =
            |path: &Path| statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC);
        let nearest = self.root.ancestors().find(|path| path.exists());
        if nearest.is_some_and(is_bpf) {
            return Ok(());
        }
        if !self.root.starts_with(BPF_FILE_SYSTEM) {
            return Err(Error::Io {
                what: format!("pinning under {}", self.root.display()),
                source: io::Error::other(
                    "not a BPF file system; mount one there with `mount -t bpf bpf DIR`, or leave --pin-dir out",
                ),
            });
        }
        mount(
            Some("bpf"),
            BPF_FILE_SYSTEM,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .map_err(|errno| Error::io(format!("mounting {BPF_FILE_SYSTEM}"))(errno.into()))
    }

    fn refuse_other_layouts(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("layout-") && name != Self::layout_name() {
                return Err(Error::OtherLayout {
                    path: self.root.clone(),
                    found: name,
                    expected: Self::layout_name(),
                });
            }
        }
        Ok(())
    }

    /// Takes the lock that only one controller can hold; it goes with the process.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`].
    pub fn lock(&self) -> Result<Flock<File>> {
        let folder = File::open(&self.root)
            .map_err(Error::io(format!("opening {}", self.root.display())))?;
        Flock::lock(folder, FlockArg::LockExclusiveNonblock)
            .map_err(|_| Error::AlreadyRunning(self.root.clone()))
    }

    /// A controller holds the lock.
    pub fn is_locked(&self) -> bool {
        matches!(self.lock(), Err(Error::AlreadyRunning(_)))
    }

    /// Opens a pinned map.
    ///
    /// # Errors
    ///
    /// [`Error::NoDataplane`] when nothing is pinned.
    pub fn open(&self, name: &str) -> Result<MapData> {
        if !self.exist() {
            self.refuse_other_layouts()?;
            return match fs::metadata(self.root.parent().unwrap_or(&self.root)) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    Err(Error::NotPermitted {
                        what: format!("reading {}", self.root.display()),
                    })
                }
                _ => match fs::metadata(&self.root) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        Err(Error::NotPermitted {
                            what: format!("reading {}", self.root.display()),
                        })
                    }
                    _ => Err(Error::NoDataplane(self.root.clone())),
                },
            };
        }
        let map = MapData::from_pin(self.map(name)).map_err(|error| match &error {
            MapError::SyscallError(call)
                if call.io_error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Error::NotPermitted {
                    what: format!("opening the map {name}"),
                }
            }
            _ => Error::map(name)(error),
        })?;
        // Reading a map of another shape would write past the buffers.
        let info = map.info().map_err(Error::map(name))?;
        loader::check_shape(name, &info)?;
        Ok(map)
    }

    /// Opens a pinned map as a hash map.
    ///
    /// # Errors
    ///
    /// As [`Pins::open`], or when the map is something else.
    pub fn hash_map<K: Pod, V: Pod>(&self, name: &str) -> Result<HashMap<MapData, K, V>> {
        HashMap::try_from(Map::HashMap(self.open(name)?)).map_err(Error::map(name))
    }

    /// Takes the pin of a map away.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn remove_map(&self, name: &str) -> Result<()> {
        let path = self.map(name);
        fs::remove_file(&path).map_err(Error::io(format!("removing {}", path.display())))
    }

    /// Sums of a pinned per-CPU array, slot by slot.
    ///
    /// # Errors
    ///
    /// As [`Pins::open`], or when the map is something else.
    pub fn per_cpu_sums(&self, name: &str) -> Result<Vec<u64>> {
        let map = PerCpuArray::<_, u64>::try_from(Map::PerCpuArray(self.open(name)?))
            .map_err(Error::map(name))?;
        (0..map.len())
            .map(|index| {
                let values = map.get(&index, 0).map_err(Error::map(name))?;
                Ok(values.iter().sum())
            })
            .collect()
    }

    /// Removes the folders and every pin in them. Links go first, so that no program runs on maps
    /// that are half gone. Goes on after a failure and reports the first.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub fn remove(&self) -> Result<()> {
        let mut outcome = Ok(());
        for link in entries(&self.links()) {
            outcome = outcome.and(attach::remove_pin(&link));
        }
        for map in entries(&self.maps()) {
            let removed =
                fs::remove_file(&map).map_err(Error::io(format!("removing {}", map.display())));
            outcome = outcome.and(removed);
        }
        for folder in [self.links(), self.maps(), self.layout(), self.root.clone()] {
            if folder.is_dir() {
                let removed = fs::remove_dir(&folder)
                    .map_err(Error::io(format!("removing {}", folder.display())));
                outcome = outcome.and(removed);
            }
        }
        outcome
    }
}

/// What is in a folder; nothing when there is no folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}
