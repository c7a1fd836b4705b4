//! Loads the embedded programs on the pinned maps, after checking that those fit.

use std::{collections::BTreeMap, sync::OnceLock};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapInfo, ProgramArray},
    programs::{ProgramError, ProgramFd, SchedClassifier, Xdp},
    util::nr_cpus,
};
use aya_obj::{EbpfSectionKind, Object, maps::PinningType};
use nat_common::{
    flow_cache::{HOPS, PATHS},
    map_types::{
        CLAIM_STAGE, CUT_STAGE, ERROR_STAGE, FRAGMENT_STAGE, POLICY_STAGE, SEND_STAGE, WHOLE_STAGE,
        names,
    },
    session_table::{SLOTS, buckets_for},
};

use crate::{
    error::{Error, Result},
    host::random,
    pins::Pins,
    session_table,
};

/// The programs as built for the BPF target.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nat-ebpf.o"));

/// The program for XDP.
pub const XDP_PROGRAM: &str = "nat_xdp";
/// The program for TC.
pub const TC_PROGRAM: &str = "nat_tc";
/// The program that ends idle sessions.
pub const EXPIRE_PROGRAM: &str = "nat_expire";
/// The program that ends sessions at once.
pub const END_PROGRAM: &str = "nat_end";
/// The program that frees ports which have rested.
pub const WAKE_PROGRAM: &str = "nat_wake";

/// Values of the programs' constant MODE (`nat-ebpf/src/settings.rs`).
const DATAPLANE_MODE: u32 = 0;
const TEST_MODE: u32 = 1;
const EXPLAIN_MODE: u32 = 2;

/// Maps that the running dataplane alone has, pinned like those that `nat explain` shares with it.
const OF_THE_DATAPLANE: [&str; 11] = [
    names::COUNTERS,
    names::GATEWAY_COUNTERS,
    names::GATEWAY_PEAKS,
    names::GATEWAY_TRAFFIC,
    names::DROPS,
    names::FLOW_CACHE,
    names::FLOW_CACHE_USE,
    names::HOP_CACHE,
    names::PATH_CACHE,
    names::TC_STAGES,
    names::XDP_STAGES,
];

/// The programs that explain, by the stages of TC. There is none for fragments and ICMP errors, which
/// nobody explains, and none that makes other packets.
const EXPLAINING: [(u32, &str); 4] = [
    (WHOLE_STAGE, EXPLAIN_PROGRAM),
    (CLAIM_STAGE, "nat_tc_rehearse_claim"),
    (POLICY_STAGE, "nat_tc_policy"),
    (SEND_STAGE, "nat_tc_rehearse_send"),
];
/// The one of them that packets begin with: it takes no short way.
pub const EXPLAIN_PROGRAM: &str = "nat_tc_whole";

/// The stages of both hooks with the programs' names behind the hook's own.
const STAGE_PROGRAMS: [(u32, &str); 6] = [
    (WHOLE_STAGE, "_whole"),
    (CLAIM_STAGE, "_claim"),
    (ERROR_STAGE, "_error"),
    (FRAGMENT_STAGE, "_fragment"),
    (POLICY_STAGE, "_policy"),
    (SEND_STAGE, "_send"),
];
/// The stage that only TC has.
const CUT_PROGRAM: &str = "nat_tc_cut";

/// How the programs are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// What the programs log, as `log::LevelFilter` counts.
    pub log_level: u8,
    /// For tests: the clock is what they write into the map `CLOCK`, and nothing is left to chance.
    pub test_clock: bool,
    /// Those of XDP are not wanted: the verifier takes as long for them as for those of TC.
    pub without_xdp: bool,
}

/// The capacity of maps whose size the configuration decides. Every session may have a binding and a
/// client of its own, and on the outside the leave of its remote address too.
fn capacity(name: &str, max_sessions: u32) -> Option<u32> {
    match name {
        names::FLOW_CACHE => Some(flow_cache_lines(max_sessions).saturating_mul(cpus())),
        names::PATH_CACHE => Some(PATHS.saturating_mul(cpus())),
        names::HOP_CACHE => Some(HOPS.saturating_mul(cpus())),
        names::SESSIONS => Some(buckets(max_sessions) * SLOTS),
        // And the seed.
        names::SESSION_INDEX => Some(buckets(max_sessions) + 1),
        names::BINDINGS | names::CLIENTS => Some(max_sessions),
        names::BOUND => Some(max_sessions.saturating_mul(2)),
        _ => None,
    }
}

/// Buckets of the session table: a session has two halves.
fn buckets(max_sessions: u32) -> u32 {
    buckets_for(2 * u64::from(max_sessions)) as u32
}

/// Lines of the flow cache for each CPU: two for each session, for its two directions, as long as they are
/// found sooner than the session itself.
fn flow_cache_lines(max_sessions: u32) -> u32 {
    const FEWEST: u32 = 1 << 4;
    const MOST: u32 = 1 << 18;
    // A power of two.
    1 << max_sessions.saturating_mul(2).clamp(FEWEST, MOST).ilog2()
}

/// CPUs there may be.
fn cpus() -> u32 {
    nr_cpus().map_or(1, |count| u32::try_from(count).unwrap_or(1))
}

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
    let mut shapes = in_object()?.clone();
    for (name, shape) in &mut shapes {
        shape.max_entries = capacity(name, max_sessions).unwrap_or(shape.max_entries);
    }
    Ok(shapes)
}

/// As the object says it, which is read once: every map that is opened is compared with it.
fn in_object() -> Result<&'static BTreeMap<String, MapShape>> {
    static SHAPES: OnceLock<BTreeMap<String, MapShape>> = OnceLock::new();
    if let Some(shapes) = SHAPES.get() {
        return Ok(shapes);
    }
    let object = Object::parse(OBJECT).map_err(|error| Error::Load(error.to_string()))?;
    let shapes = object
        .maps
        .iter()
        .filter(|(_, map)| {
            matches!(
                map.section_kind(),
                EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps
            )
        })
        .map(|(name, map)| {
            let shape = MapShape {
                kind: map.map_type(),
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: map.max_entries(),
            };
            (name.clone(), shape)
        })
        .collect();
    Ok(SHAPES.get_or_init(|| shapes))
}

/// Loads the programs; maps that are pinned are taken over with all they hold.
///
/// # Errors
///
/// A pinned map of another shape ([`Error::MapMismatch`], nothing is changed then), or what the
/// kernel refuses.
pub fn load(pins: &Pins, max_sessions: u32, options: LoadOptions) -> Result<Ebpf> {
    check_pinned(pins, max_sessions)?;
    session_table::remove_half_a_table(pins)?;
    let mut loader = EbpfLoader::new();
    loader.default_map_pin_directory(pins.maps());
    for name in OF_THE_DATAPLANE {
        loader.map_pin_path(name, pins.map(name));
    }
    for &name in names::ALL {
        if let Some(capacity) = capacity(name, max_sessions) {
            loader.map_max_entries(name, capacity);
        }
    }
    let mode = if options.test_clock {
        TEST_MODE
    } else {
        DATAPLANE_MODE
    };
    loader.override_global(aya_log::LEVEL, &options.log_level, true);
    loader.override_global("MODE", &mode, true);
    let lines = flow_cache_lines(max_sessions);
    loader.override_global("FLOW_CACHE_LINES", &lines, true);
    let buckets = buckets(max_sessions);
    loader.override_global("SESSION_BUCKETS", &buckets, true);
    let seed = match session_table::seed(pins)? {
        Some(seed) => seed,
        None if options.test_clock => 1,
        None => random() | 1,
    };
    loader.override_global("SESSION_SEED", &seed, true);
    let mut ebpf = loader.load(OBJECT)?;
    session_table::set_seed(pins, seed)?;
    for (stage, suffix) in STAGE_PROGRAMS {
        if !options.without_xdp {
            load_xdp_stage(&mut ebpf, stage, &format!("{XDP_PROGRAM}{suffix}"))?;
        }
        load_tc_stage(&mut ebpf, stage, &format!("{TC_PROGRAM}{suffix}"))?;
    }
    load_tc_stage(&mut ebpf, CUT_STAGE, CUT_PROGRAM)?;
    if !options.without_xdp {
        program::<Xdp>(&mut ebpf, XDP_PROGRAM)?.load()?;
    }
    program::<SchedClassifier>(&mut ebpf, TC_PROGRAM)?.load()?;
    for name in [EXPIRE_PROGRAM, END_PROGRAM, WAKE_PROGRAM] {
        program::<SchedClassifier>(&mut ebpf, name)?.load()?;
    }
    Ok(ebpf)
}

/// Loads the programs a second time, to explain: on the pinned policy and sessions, of which they change
/// nothing, with stages, counters and caches of their own.
///
/// # Errors
///
/// When there is no dataplane of this version, or what the kernel refuses.
pub fn load_to_explain(pins: &Pins) -> Result<Ebpf> {
    // A pin that is not there would be made.
    for name in shared_maps()? {
        pins.open(&name)?;
    }
    let words = pins.open(names::SESSION_INDEX)?.info();
    let words = words.map_err(Error::map(names::SESSION_INDEX))?;
    let buckets = words.max_entries().saturating_sub(1);
    let seed = session_table::seed(pins)?.unwrap_or(1);
    let lines: u32 = 1 << 4;
    let mut loader = EbpfLoader::new();
    loader
        .default_map_pin_directory(pins.maps())
        .map_max_entries(names::FLOW_CACHE, lines.saturating_mul(cpus()))
        .map_max_entries(names::PATH_CACHE, PATHS.saturating_mul(cpus()))
        .map_max_entries(names::HOP_CACHE, HOPS.saturating_mul(cpus()))
        .override_global("MODE", &EXPLAIN_MODE, true)
        .override_global(aya_log::LEVEL, &0u8, true)
        .override_global("FLOW_CACHE_LINES", &lines, true)
        .override_global("SESSION_BUCKETS", &buckets, true)
        .override_global("SESSION_SEED", &seed, true);
    let mut ebpf = loader.load(OBJECT)?;
    for (stage, name) in EXPLAINING {
        load_tc_stage(&mut ebpf, stage, name)?;
    }
    Ok(ebpf)
}

/// The maps that the object declares as pinned: those that are shared.
fn shared_maps() -> Result<Vec<String>> {
    let object = Object::parse(OBJECT).map_err(|error| Error::Load(error.to_string()))?;
    let shared = object
        .maps
        .iter()
        .filter(|(_, map)| map.pinning() == PinningType::ByName)
        .map(|(name, _)| name.clone());
    Ok(shared.collect())
}

fn load_xdp_stage(ebpf: &mut Ebpf, stage: u32, name: &str) -> Result<()> {
    let xdp: &mut Xdp = program(ebpf, name)?;
    xdp.load()?;
    let xdp = xdp
        .fd()?
        .try_clone()
        .map_err(Error::io("keeping a program"))?;
    set_stage(ebpf, names::XDP_STAGES, stage, &xdp)
}

fn load_tc_stage(ebpf: &mut Ebpf, stage: u32, name: &str) -> Result<()> {
    let tc: &mut SchedClassifier = program(ebpf, name)?;
    tc.load()?;
    let tc = tc
        .fd()?
        .try_clone()
        .map_err(Error::io("keeping a program"))?;
    set_stage(ebpf, names::TC_STAGES, stage, &tc)
}

/// Puts a program where the others of its hook find it. In a running dataplane that replaces the one of
/// an earlier controller, whose other programs go on with this one.
fn set_stage(ebpf: &mut Ebpf, map: &str, stage: u32, program: &ProgramFd) -> Result<()> {
    let stages = ebpf
        .map_mut(map)
        .ok_or_else(|| Error::Load(format!("the map {map} is missing from the object")))?;
    let mut stages = ProgramArray::try_from(stages).map_err(Error::map(map))?;
    stages.set(stage, program, 0).map_err(Error::map(map))
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
    let Some(shape) = in_object()?.get(name) else {
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
        // Of another size they would do as well, but nothing is lost with them.
        let caches = [names::FLOW_CACHE, names::PATH_CACHE, names::HOP_CACHE];
        let is_cache = caches.contains(&name.as_str());
        if info.max_entries() != shape.max_entries && is_cache {
            // It says how many lines are in use: were only the lines gone, it would say so of fewer.
            if name == names::FLOW_CACHE && pins.map(names::FLOW_CACHE_USE).exists() {
                pins.remove_map(names::FLOW_CACHE_USE)?;
            }
            pins.remove_map(&name)?;
        } else if info.max_entries() != shape.max_entries {
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
