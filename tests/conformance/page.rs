//! Reads docs/conformance.md: a section for an RFC or several, in it a table with a row for each
//! requirement.

use std::fmt;

/// Where the page is, from the workspace's root.
pub const PATH: &str = "docs/conformance.md";

const HEADER: [&str; 4] = ["requirement", "aws", "rfc", "tests"];

/// Whether a requirement holds in one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Holds,
    DoesNotHold,
    NotApplicable,
}

impl State {
    const ALL: [(&str, Self); 3] = [
        ("holds", Self::Holds),
        ("does not hold", Self::DoesNotHold),
        ("not applicable", Self::NotApplicable),
    ];
}

/// A requirement, and what the page says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1.
    pub line: usize,
    /// The heading up to its colon.
    pub section: String,
    /// What stands before the first colon: `REQ-3a`.
    pub requirement: String,
    /// In profiles aws and rfc; `None` where the word was none of the vocabulary.
    pub states: [Option<State>; 2],
    /// Names of test functions.
    pub tests: Vec<String>,
}

impl Row {
    /// It is about this RFC.
    pub fn is_of(&self, rfc: u32) -> bool {
        rfcs_of(&self.section).any(|number| number == rfc)
    }
}

/// The RFCs that a section's name lists: `RFC 1624, 768`.
fn rfcs_of(section: &str) -> impl Iterator<Item = u32> {
    let numbers = section.strip_prefix("RFC ").unwrap_or_default();
    numbers.split(", ").filter_map(|number| number.parse().ok())
}

/// What is wrong, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Of the page; 0 where nothing is said that should be.
    pub line: usize,
    pub what: String,
    pub remedy: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, what, remedy } = self;
        match line {
            0 => write!(formatter, "{PATH}: {what}; {remedy}"),
            _ => write!(formatter, "{PATH}:{line}: {what}; {remedy}"),
        }
    }
}

/// The rows of all tables, and what can't be read.
pub fn parse(text: &str) -> (Vec<Row>, Vec<Complaint>) {
    let (mut rows, mut complaints) = (Vec::new(), Vec::new());
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.split(':').next().unwrap_or_default();
            section = name.trim().to_owned();
        }
        let Some(cells) = cells(line) else { continue };
        let is_rule = cells.iter().all(|cell| cell.chars().all(|c| c == '-'));
        if section.is_empty() || is_rule || cells == HEADER {
            continue;
        }
        let mut complain = |what: String, remedy: String| {
            complaints.push(Complaint {
                line: number,
                what,
                remedy,
            });
        };
        let [requirement, aws, rfc, tests] = cells.as_slice() else {
            complain(
                format!("a row of {} cells", cells.len()),
                format!("write | {} |", HEADER.join(" | ")),
            );
            continue;
        };
        let states = [("aws", aws), ("rfc", rfc)].map(|(profile, cell)| {
            state(cell).map_err(|(what, remedy)| {
                complain(format!("profile {profile}: {what}"), remedy);
            })
        });
        let id = requirement.split_once(": ").map(|(id, _)| id);
        if id.is_none() {
            complain(
                format!("{requirement:?} has no colon"),
                "write `REQ-1: what it asks for`".into(),
            );
        }
        let (names, rest) = names(tests);
        if !rest.is_empty() {
            complain(
                format!("{rest:?} among the tests"),
                "write names of tests, each in backticks, with commas between them".into(),
            );
        }
        rows.push(Row {
            line: number,
            section: section.clone(),
            requirement: id.unwrap_or(requirement).to_owned(),
            states: states.map(Result::ok),
            tests: names,
        });
    }
    (rows, complaints)
}

/// The cells of a table's line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// `holds`, or `does not hold: why`.
fn state(cell: &str) -> Result<State, (String, String)> {
    let (word, remark) = match cell.split_once(':') {
        Some((word, remark)) => (word.trim(), remark.trim()),
        None => (cell, ""),
    };
    let Some((_, state)) = State::ALL.into_iter().find(|(name, _)| *name == word) else {
        return Err((
            format!("{word:?} is no state"),
            format!(
                "write one of {}, and a remark only after a colon",
                State::ALL.map(|(name, _)| format!("\"{name}\"")).join(", ")
            ),
        ));
    };
    if state == State::DoesNotHold && remark.is_empty() {
        return Err((
            "does not hold, without a word why".into(),
            "write `does not hold: ` and exactly what is missing".into(),
        ));
    }
    Ok(state)
}

/// The names in backticks, and what is there besides them and commas.
fn names(cell: &str) -> (Vec<String>, String) {
    let (mut names, mut rest) = (Vec::new(), String::new());
    for (index, part) in cell.split('`').enumerate() {
        if index % 2 == 1 {
            names.push(part.to_owned());
        } else {
            rest.push_str(part.trim_matches([',', ' ']));
        }
    }
    (names, rest)
}
