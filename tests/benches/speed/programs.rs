//! How large the programs are, and how hard the verifier works on them. Growth is watched by
//! tests/verifier.rs.
use anyhow::Result;
use nat_tests::netns::Namespace;
use nat_userspace::{
    loader::{self, LoadOptions},
    pins::{DEFAULT_PIN_DIR, Pins},
};

use crate::{
    Run,
    figures::{Cell, Row, Table},
    sizes,
};

/// Sizes of the maps cost no instruction.
const SESSIONS: u32 = 1024;

pub fn measure(_run: &Run) -> Result<Vec<Table>> {
    let node = Namespace::with_own_mounts("loader")?;
    let sizes = node.run(|| {
        let pins = Pins::new(DEFAULT_PIN_DIR);
        pins.create()?;
        sizes::sizes(&loader::load(&pins, SESSIONS, LoadOptions::default())?)
    })?;
    let rows = sizes
        .into_iter()
        .map(|(name, (size, machine_code))| Row {
            name,
            cells: [size.instructions, size.verified, machine_code]
                .map(|count| Cell::one(f64::from(count)))
                .to_vec(),
        })
        .collect();
    Ok(vec![Table {
        name: "programs",
        title: "The programs as they are loaded".to_owned(),
        unit: "count",
        columns: ["instructions", "verified", "bytes of machine code"]
            .map(str::to_owned)
            .to_vec(),
        rows,
        reference: None,
        note: "Instructions after the verifier; verified: each as often as the verifier looked at it, which gives \
               up at a million.",
    }])
}
