//! The stack that each program of the object file takes together with the functions it calls, as the verifier
//! counts it: a frame is as deep as the lowest place that its function touches.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{Context as _, Result};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
    read::File,
};

/// A function's section, and where in there it begins.
type Place = (SectionIndex, u64);

struct Function {
    name: String,
    depth: u64,
    calls: HashSet<Place>,
}

/// Bytes of stack by the names of the programs, with frames in multiples of `unit` bytes, and the calls that lead to
/// the deepest place.
pub fn depths(object: &[u8], unit: u64) -> Result<BTreeMap<String, (u64, Vec<String>)>> {
    let file = File::parse(object)?;
    let mut functions = HashMap::new();
    for symbol in file.symbols() {
        if symbol.kind() == SymbolKind::Text
            && let Some(section) = symbol.section_index()
        {
            let place = (section, symbol.address());
            let function = function(&file, place, symbol.size(), symbol.name()?)?;
            functions.insert(place, function);
        }
    }
    let mut depths = BTreeMap::new();
    for (place, function) in &functions {
        // What programs call is in one section, and each program in its own.
        if file.section_by_index(place.0)?.name()? != ".text" {
            let deepest = deepest(&functions, *place, unit);
            depths.insert(function.name.clone(), deepest);
        }
    }
    Ok(depths)
}

fn deepest(functions: &HashMap<Place, Function>, at: Place, unit: u64) -> (u64, Vec<String>) {
    let function = &functions[&at];
    let below = function
        .calls
        .iter()
        .map(|place| deepest(functions, *place, unit));
    let (below, mut calls) = below.max().unwrap_or_default();
    calls.insert(0, format!("{} {}", function.name, function.depth));
    (function.depth.max(1).next_multiple_of(unit) + below, calls)
}

/// Of `struct bpf_insn`.
const SIZE: usize = 8;
const CALL: u8 = 0x85;
const LOAD_64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
/// In the source register of a call: of a function of the object.
const PSEUDO_CALL: u8 = 1;
const FRAME: u8 = 10;

fn function(file: &File<'_>, at: Place, size: u64, name: &str) -> Result<Function> {
    let section = file.section_by_index(at.0)?;
    let relocations: BTreeMap<u64, _> = section.relocations().collect();
    let code = section
        .data_range(at.1, size)?
        .with_context(|| format!("{name} is longer than its section"))?;
    let mut function = Function {
        name: name.to_owned(),
        depth: 0,
        calls: HashSet::new(),
    };
    // Registers that have the frame's address.
    let mut frames = BTreeSet::new();
    let (instructions, _) = code.as_chunks::<SIZE>();
    for (index, instruction) in instructions.iter().enumerate() {
        let [code, registers, offset @ .., _, _, _, _] = *instruction;
        let [.., a, b, c, d] = *instruction;
        let value = i32::from_le_bytes([a, b, c, d]);
        let offset = i64::from(i16::from_le_bytes(offset));
        let (target, source) = (registers & 0xf, registers >> 4);
        let place = at.1 + (index * SIZE) as u64;
        let lowest = match code & 7 {
            // Loads and stores.
            1 if source == FRAME => offset,
            2 | 3 if target == FRAME => offset,
            _ if code == ADD && frames.contains(&target) => i64::from(value),
            _ => 0,
        };
        function.depth = function.depth.max(lowest.min(0).unsigned_abs());
        if matches!(code & 7, 0 | 1 | 4 | 7) {
            frames.remove(&target);
        }
        if code == MOVE && source == FRAME {
            frames.insert(target);
        }
        let is_call = code == CALL && source == PSEUDO_CALL;
        let called = match relocations.get(&place) {
            None if is_call => Some((at.0, place.wrapping_add_signed((i64::from(value) + 1) * 8))),
            None => None,
            Some(relocation) => {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    continue;
                };
                let symbol = file.symbol_by_index(symbol)?;
                let is_section = symbol.kind() == SymbolKind::Section;
                let in_section = match (is_call, is_section) {
                    (true, true) => Some((i64::from(value) as u64).wrapping_add(1) * 8),
                    // What a helper is to call back.
                    (false, true) if code == LOAD_64 && is_text(file, &symbol)? => {
                        Some(value as u64)
                    }
                    _ if symbol.kind() == SymbolKind::Text => Some(symbol.address()),
                    _ => None,
                };
                symbol.section_index().zip(in_section)
            }
        };
        function.calls.extend(called);
    }
    Ok(function)
}

fn is_text(file: &File<'_>, symbol: &object::Symbol<'_, '_>) -> Result<bool> {
    Ok(match symbol.section_index() {
        Some(index) => file.section_by_index(index)?.name()? == ".text",
        None => false,
    })
}
