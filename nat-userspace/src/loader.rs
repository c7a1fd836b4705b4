//! Loads the embedded programs on the pinned maps, after checking that those fit.

use std::collections::BTreeMap;

use aya::{
    Ebpf, EbpfLoader,
    maps::MapInfo,
    programs::{ProgramError, SchedClassifier, Xdp},
};
use aya_obj::{EbpfSectionKind, Object};
use nat_common::map_types::names;

use crate::{
    error::{Error, Result},
    pins::Pins,
};

/// The programs as built for the BPF target.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nat-ebpf.o"));

/// The program for XDP.
pub const XDP_PROGRAM: &str = "nat_xdp";
/// The program for TC.
pub const TC_PROGRAM: &str = "nat_tc";
/// The program that ends sessions.
pub const EXPIRE_PROGRAM: &str = "nat_expire";

/// Maps whose size the configuration decides: so many times `max_sessions`. A session takes up to two
/// places in BOUND, its binding's and the leave of its remote end.
const SIZED: [(&str, u32); 5] = [
    (names::SESSIONS, 1),
    (names::REVERSE, 1),
    (names::BINDINGS, 1),
    (names::BOUND, 2),
    (names::CLIENTS, 1),
];

/// A map as the object file declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Its type's number.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
}

/// The maps the object declares, by name.
///
/// # Errors
///
/// When the embedded object can't be parsed.
pub fn declared_maps(max_sessions: u32) -> Result<BTreeMap<String, MapShape>> {
    let object = Object::parse(OBJECT).map_err(|error| Error::Load(error.to_string()))?;
    Ok(object
        .maps
        .iter()
        .filter(|(_, map)| {
            matches!(
                map.section_kind(),
                EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps
            )
        })
        .map(|(name, map)| {
            let sized = SIZED.iter().find(|(sized, _)| sized == name);
            let max_entries = match sized {
                Some((_, times)) => times.saturating_mul(max_sessions),
                None => map.max_entries(),
            };
            let shape = MapShape {
                kind: map.map_type(),
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries,
            };
            (name.clone(), shape)
        })
        .collect())
}

/// Loads the programs; maps that are pinned are taken over with all they hold.
///
/// # Errors
///
/// A pinned map of another shape ([`Error::MapMismatch`], nothing is changed then), or what the
/// kernel refuses.
pub fn load(pins: &Pins, max_sessions: u32, log_level: u8) -> Result<Ebpf> {
    check_pinned(pins, max_sessions)?;
    let mut loader = EbpfLoader::new();
    loader.default_map_pin_directory(pins.maps());
    for (name, times) in SIZED {
        loader.map_max_entries(name, times.saturating_mul(max_sessions));
    }
    loader.override_global(aya_log::LEVEL, &log_level, true);
    let mut ebpf = loader.load(OBJECT)?;
    program::<Xdp>(&mut ebpf, XDP_PROGRAM)?.load()?;
    program::<SchedClassifier>(&mut ebpf, TC_PROGRAM)?.load()?;
    program::<SchedClassifier>(&mut ebpf, EXPIRE_PROGRAM)?.load()?;
    Ok(ebpf)
}

/// A loaded program of the object.
///
/// # Errors
///
/// Only when the embedded object lacks it.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| Error::Load(format!("the program {name} is missing from the object")))?;
    Ok(program.try_into()?)
}

/// Refuses a map whose entries are not what the object declares.
///
/// # Errors
///
/// [`Error::MapMismatch`].
pub fn check_shape(name: &str, info: &MapInfo) -> Result<()> {
    const REMEDY: &str = "it is not ours: remove it with `nat down` and start anew";
    let declared = declared_maps(1)?;
    let Some(shape) = declared.get(name) else {
        return Ok(());
    };
    for (what, found, expected) in [
        (
            "type",
            info.map_type().map_or(0, |kind| kind as u32),
            shape.kind,
        ),
        ("key size", info.key_size(), shape.key_size),
        ("value size", info.value_size(), shape.value_size),
    ] {
        if found != expected {
            return Err(Error::MapMismatch {
                name: name.to_owned(),
                what,
                found,
                expected,
                remedy: REMEDY,
            });
        }
    }
    Ok(())
}

fn check_pinned(pins: &Pins, max_sessions: u32) -> Result<()> {
    const RESIZE: &str = "set max_sessions back, or end it with `nat down` and start anew";
    for (name, shape) in declared_maps(max_sessions)? {
        let path = pins.map(&name);
        if !path.exists() {
            continue;
        }
        let info = MapInfo::from_pin(&path).map_err(Error::map(&name))?;
        check_shape(&name, &info)?;
        if info.max_entries() != shape.max_entries {
            return Err(Error::MapMismatch {
                name,
                what: "capacity",
                found: info.max_entries(),
                expected: shape.max_entries,
                remedy: RESIZE,
            });
        }
    }
    Ok(())
}
