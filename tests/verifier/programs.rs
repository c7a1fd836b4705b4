//! What the kernel says about the loaded programs: how large they are, and how hard the verifier worked.
//! For the test (../verifier.rs) and the bench (../benches/speed/programs.rs).
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use serde::{Deserialize, Serialize};

/// Of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Instructions in the kernel, after the verifier has put helpers in place and taken dead code out.
    pub instructions: u32,
    /// Instructions the verifier looked at, each as often as it did. It gives up at a million.
    pub verified: u32,
}

/// Every program by name, with the bytes of its machine code.
pub fn sizes(ebpf: &Ebpf) -> Result<BTreeMap<String, (Size, u32)>> {
    const BYTES: u32 = 8;
    ebpf.programs()
        // Those that explain are loaded for that alone.
        .filter(|(_, program)| program.fd().is_ok())
        .map(|(name, program)| {
            let info = program.info().with_context(|| name.to_owned())?;
            let size = Size {
                instructions: info.size_translated().unwrap_or(0) / BYTES,
                verified: info.verified_instruction_count().unwrap_or(0),
            };
            Ok((name.to_owned(), (size, info.size_jitted())))
        })
        .collect()
}
