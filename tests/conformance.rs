//! Keeps docs/conformance.md true to the sources: every requirement has a row, what a row claims has
//! tests, and those tests exist. Whether they pass is their own matter.
//!
//! `conformance/page.rs` reads the page, `conformance/sources.rs` finds the tests,
//! `conformance/requirements.rs` lists what there has to be a row for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "conformance/check.rs"]
mod check;
#[path = "conformance/check_tests.rs"]
mod check_tests;
#[path = "conformance/page.rs"]
mod page;
#[path = "conformance/requirements.rs"]
mod requirements;
#[path = "conformance/sources.rs"]
mod sources;

use std::path::Path;

#[test]
fn the_conformance_page_is_true_to_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(page::PATH)).unwrap();
    let (rows, mut complaints) = page::parse(&text);
    let tests = sources::tests_below(root);
    complaints.extend(check::check(&rows, &tests, requirements::ALL));
    complaints.sort();
    let complaints: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    assert!(
        complaints.is_empty(),
        "{} complaint(s):\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
