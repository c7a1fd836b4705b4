//! The page's reader and each check, on pages that are small and wrong.

use std::path::PathBuf;

use crate::{
    check::check,
    page::{Row, State, parse},
    sources::{Tests, names},
};

const ALL: &[(&str, &[&str])] = &[("RFC 4787", &["REQ-1"]), ("RFC 768, 1624", &["zero"])];

const GOOD: &str = "# Conformance

| state | meaning |
|---|---|
| holds | it does |

## RFC 4787: UDP

| requirement | aws | rfc | tests |
|---|---|---|---|
| REQ-1: one mapping for all | does not hold: by design | holds | `rfc4787_req1_one`, `other` |

## RFC 768, 1624: checksums

| requirement | aws | rfc | tests |
|---|---|---|---|
| zero: none stays none | holds | holds: always | `rfc768_zero` |
";

fn tests() -> Tests {
    ["rfc4787_req1_one", "other", "rfc768_zero"]
        .map(|name| (name.to_owned(), PathBuf::from("a.rs")))
        .into()
}

/// All complaints about [`GOOD`] with one thing changed.
#[track_caller]
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let (rows, mut complaints) = parse(&GOOD.replacen(from, to, 1));
    complaints.extend(check(&rows, &tests(), ALL));
    complaints.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_page_is_read_and_nothing_is_said() {
    let (rows, complaints) = parse(GOOD);
    assert_eq!(complaints, []);
    let first = Row {
        line: 11,
        section: "RFC 4787".into(),
        requirement: "REQ-1".into(),
        states: [Some(State::DoesNotHold), Some(State::Holds)],
        tests: vec!["rfc4787_req1_one".into(), "other".into()],
    };
    assert_eq!(rows[0], first);
    assert!(rows[0].is_of(4787) && !rows[0].is_of(478));
    assert!(rows[1].is_of(768) && rows[1].is_of(1624));
    assert_eq!(rows.len(), 2);
    assert_eq!(check(&rows, &tests(), ALL), []);
}

#[test]
fn a_test_that_does_not_exist_is_named() {
    assert_eq!(
        complaints("`other`", "`another`"),
        [
            "docs/conformance.md:11: REQ-1 names the test another, which does not exist; \
             mend the name, or write the test"
        ]
    );
}

#[test]
fn a_requirements_test_that_no_row_of_its_rfc_names_is_named() {
    let expected = "docs/conformance.md: no row of RFC 768 names rfc768_zero of a.rs; \
                    name it where the requirement stands that it tests, or rename it";
    assert_eq!(complaints("`rfc768_zero`", "`other`"), [expected]);
    // A row of another RFC does not do.
    let elsewhere = complaints("`other`", "`rfc768_zero`");
    assert_eq!(elsewhere, [""; 0]);
    let mut tests = tests();
    tests.insert("rfc4787_req9_and_rfc5382_req8_two".into(), "b.rs".into());
    tests.insert("rfc_profile_is_no_rfc".into(), "b.rs".into());
    tests.insert("more_about_rfc5382_".into(), "b.rs".into());
    let (rows, _) = parse(GOOD);
    let complaints = check(&rows, &tests, ALL);
    let whats: Vec<_> = complaints.iter().map(|each| &each.what[..16]).collect();
    assert_eq!(whats, ["no row of RFC 47", "no row of RFC 53"]);
}

#[test]
fn a_requirement_without_a_row_is_named() {
    assert_eq!(
        complaints("REQ-1:", "REQ-2:"),
        [
            "docs/conformance.md:11: RFC 4787 REQ-2 is no requirement that is known; \
             mend it, or add it to tests/conformance/requirements.rs",
            "docs/conformance.md: RFC 4787 REQ-1 has no row; add one below \"## RFC 4787\"",
        ]
    );
}

#[test]
fn a_claim_without_a_test_is_named() {
    assert_eq!(
        complaints("`rfc4787_req1_one`, `other`", "")[0],
        "docs/conformance.md:11: REQ-1 holds, says who?; name a test that shows it, or write one"
    );
    let neither = complaints(
        "| holds | `rfc4787_req1_one`",
        "| not applicable | `rfc4787_req1_one`",
    );
    assert_eq!(neither, [""; 0]);
}

#[test]
fn a_word_that_is_no_state_is_named() {
    assert_eq!(
        complaints("holds: always", "mostly holds"),
        [
            "docs/conformance.md:17: profile rfc: \"mostly holds\" is no state; write one of \
             \"holds\", \"does not hold\", \"not applicable\", and a remark only after a colon"
        ]
    );
    assert_eq!(
        complaints("does not hold: by design", "does not hold"),
        [
            "docs/conformance.md:11: profile aws: does not hold, without a word why; \
             write `does not hold: ` and exactly what is missing"
        ]
    );
}

#[test]
fn rows_that_cannot_be_read_are_named() {
    for (from, to, what) in [
        ("zero: none", "zero none", "has no colon"),
        ("holds: always | `", "`", "a row of 3 cells"),
        (
            "`rfc768_zero`",
            "`rfc768_zero` and more",
            "\"and more\" among the tests",
        ),
        (
            "| zero: none stays none |",
            "| zero: once | holds | holds | `other` |\n| zero: none stays none |",
            "has a row already, in line 17",
        ),
    ] {
        let complaints = complaints(from, to);
        assert!(complaints[0].contains(what), "{complaints:?}");
    }
}

#[test]
fn tests_are_found_where_they_are_marked_and_where_macros_list_them() {
    let source = "
/// on_both_hooks! {
macro_rules! on_both_hooks {
    ($($name:ident => $body:expr;)*) => {
        $(#[test] fn $name() { $body(super::Hook::Xdp) })*
    };
}
on_both_hooks! {
    // not_this => super::one;
    by_arrow => super::two;
}
on_both_hooks! {
    module::by_path,
    // module::not_that,
}
on_every_hook! {
    module::everywhere,
}
on_tc! {
    module::on_one,
}
#[test]
#[should_panic]
fn marked() {}
fn helper() {}
#[test]
#[ignore]
fn ignored() {}
proptest! {
    #[test]
    fn with_arguments(x in 0..1) {}
}
// #[test]
fn no_test() {}
#[tokio::test(flavor = \"current_thread\")]
async fn awaits() {}
";
    assert_eq!(
        names(source),
        [
            "by_arrow",
            "by_path",
            "everywhere",
            "on_one",
            "marked",
            "with_arguments",
            "awaits"
        ]
    );
}
