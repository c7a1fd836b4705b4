//! The pinned maps byte by byte, whatever they mean.
use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Result, bail};
use aya::{
    maps::{MapData, MapType},
    util::nr_cpus,
};
use nat_tests::netns::Namespace;

/// Entries by key.
pub type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

/// `union bpf_attr`, as far as maps need it.
#[repr(C)]
struct Attributes {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const LOOK_UP: libc::c_long = 1;
const NEXT_KEY: libc::c_long = 4;

/// Every pinned map of the dataplane on a node.
pub fn of_all_maps(node: &Namespace) -> Result<BTreeMap<String, Bytes>> {
    node.run(|| {
        let mut all = BTreeMap::new();
        for layout in fs::read_dir("/sys/fs/bpf/nat")? {
            for pin in fs::read_dir(layout?.path().join("maps"))? {
                let pin = pin?;
                let name = pin.file_name().to_string_lossy().into_owned();
                all.insert(name, entries(&MapData::from_pin(pin.path())?)?);
            }
        }
        Ok(all)
    })
}

fn entries(map: &MapData) -> Result<Bytes> {
    let info = map.info()?;
    let value_size = match info.map_type()? {
        MapType::PerCpuArray | MapType::PerCpuHash => {
            let cpus = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
            info.value_size().next_multiple_of(8) as usize * cpus
        }
        _ => info.value_size() as usize,
    };
    let mut entries = Bytes::new();
    let (mut key, mut next) = (Vec::new(), vec![0; info.key_size() as usize]);
    while call(map, NEXT_KEY, &key, &mut next)? {
        key.clone_from(&next);
        let mut value = vec![0; value_size];
        if call(map, LOOK_UP, &key, &mut value)? {
            entries.insert(key.clone(), value);
        }
    }
    Ok(entries)
}

/// False when there is none.
fn call(map: &MapData, command: libc::c_long, key: &[u8], answer: &mut [u8]) -> Result<bool> {
    let mut attributes = Attributes {
        map: map.fd().as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: if key.is_empty() {
            0
        } else {
            key.as_ptr() as u64
        },
        value: answer.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and answer are as long as the map says, and live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    if done == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) {
        return Ok(false);
    }
    bail!("reading a map: {error}")
}
