//! No program grows unnoticed: its instructions, and those the verifier looks at, are compared with
//! verifier/baseline.json. Counts, not times: they are the same on every machine with that kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nat_tests::netns::Namespace;
use nat_userspace::{
    loader::{self, LoadOptions},
    pins::{DEFAULT_PIN_DIR, Pins},
};
use nix::sys::utsname::uname;
use programs::Size;
use serde::{Deserialize, Serialize};

#[path = "verifier/programs.rs"]
mod programs;
#[path = "verifier/stack.rs"]
mod stack;

/// Set to anything, the test writes the baseline anew instead of comparing.
const UPDATE: &str = "NAT_UPDATE_BASELINE";
const PERCENT: u64 = 10;
/// Sizes of the maps cost no instruction.
const SESSIONS: u32 = 1024;

#[derive(Serialize, Deserialize)]
struct Baseline {
    /// Major and minor version. Another kernel's verifier works differently, so `verified` is
    /// compared on this one only.
    kernel: String,
    programs: BTreeMap<String, Size>,
}

#[test]
fn no_program_grew_by_more_than_a_tenth() {
    let now = Baseline {
        kernel: kernel(),
        programs: load(),
    };
    let path = baseline();
    if std::env::var_os(UPDATE).is_some() {
        let text = serde_json::to_string_pretty(&now).unwrap();
        fs::write(&path, text + "\n").unwrap();
        return;
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let before: Baseline = serde_json::from_str(&text).unwrap();
    let grown = grown(&before, &now);
    assert!(
        grown.is_empty(),
        "{}\nIf that is worth it, write the baseline anew, as root, and commit it:\n  \
         {UPDATE}=1 cargo test -p nat-tests --test verifier",
        grown.join("\n")
    );
}

/// Frames are of 32 bytes there, in place of the 16 that the verifiers of later kernels count.
#[test]
fn every_program_has_room_on_the_stack_of_linux_6_1() {
    const STACK: u64 = 512;
    let depths = stack::depths(loader::OBJECT, 32).unwrap();
    assert!(depths.len() > 10, "{depths:?}");
    let too_deep: Vec<_> = depths
        .iter()
        .filter(|(_, (depth, _))| *depth > STACK)
        .map(|(name, (depth, calls))| format!("{name} takes {depth} bytes: {}", calls.join(", ")))
        .collect();
    assert!(too_deep.is_empty(), "{}", too_deep.join("\n"));
}

#[test]
fn growth_is_told() {
    let with = |kernel: &str, instructions, verified| Baseline {
        kernel: kernel.to_owned(),
        programs: BTreeMap::from([(
            "nat_xdp".to_owned(),
            Size {
                instructions,
                verified,
            },
        )]),
    };
    let before = with("6.18", 1000, 20_000);
    assert!(grown(&before, &with("6.18", 1100, 22_000)).is_empty());
    assert_eq!(
        grown(&before, &with("6.18", 1101, 22_001)),
        [
            "nat_xdp: 1101 instructions, 1000 in the baseline",
            "nat_xdp: 22001 verified instructions, 20000 in the baseline"
        ]
    );
    assert!(grown(&before, &with("6.12", 1100, 90_000)).is_empty());
    let mut more = with("6.18", 1000, 20_000);
    let size = more.programs["nat_xdp"];
    more.programs.insert("nat_tc".to_owned(), size);
    assert_eq!(grown(&before, &more), ["nat_tc: is not in the baseline"]);
}

fn grown(before: &Baseline, now: &Baseline) -> Vec<String> {
    let mut grown = Vec::new();
    for (name, size) in &now.programs {
        let Some(base) = before.programs.get(name) else {
            grown.push(format!("{name}: is not in the baseline"));
            continue;
        };
        let same_kernel = before.kernel == now.kernel;
        for (what, base, size) in [
            ("", base.instructions, size.instructions),
            ("verified ", base.verified, size.verified),
        ] {
            let comparable = what.is_empty() || same_kernel;
            if comparable && u64::from(size) * 100 > u64::from(base) * (100 + PERCENT) {
                grown.push(format!(
                    "{name}: {size} {what}instructions, {base} in the baseline"
                ));
            }
        }
    }
    grown
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/baseline.json")
}

fn load() -> BTreeMap<String, Size> {
    let node = Namespace::with_own_mounts("loader").unwrap();
    let sizes = node
        .run(|| {
            let pins = Pins::new(DEFAULT_PIN_DIR);
            pins.create()?;
            let ebpf = loader::load(&pins, SESSIONS, LoadOptions::default())?;
            programs::sizes(&ebpf)
        })
        .unwrap();
    sizes
        .into_iter()
        .map(|(name, (size, _))| (name, size))
        .collect()
}

/// `6.18` of `6.18.44-cloud`.
fn kernel() -> String {
    let system = uname().unwrap();
    let release = system.release().to_string_lossy().into_owned();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}
