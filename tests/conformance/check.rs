//! What the page must say, and must not.

use crate::{
    page::{Complaint, Row, State},
    sources::Tests,
};

/// Compares the page's rows with the tests and the requirements there are.
pub fn check(rows: &[Row], tests: &Tests, all: &[(&str, &[&str])]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for row in rows {
        about_row(row, tests, all, &mut complaints);
    }
    for (index, row) in rows.iter().enumerate() {
        let is_same =
            |other: &&Row| (&other.section, &other.requirement) == (&row.section, &row.requirement);
        if let Some(first) = rows[..index].iter().find(is_same) {
            complaints.push(Complaint {
                line: row.line,
                what: format!(
                    "{} has a row already, in line {}",
                    row.requirement, first.line
                ),
                remedy: "keep one of them".into(),
            });
        }
    }
    for (section, requirements) in all {
        for requirement in *requirements {
            let has_row = |row: &Row| row.section == *section && row.requirement == *requirement;
            if !rows.iter().any(has_row) {
                complaints.push(Complaint {
                    line: 0,
                    what: format!("{section} {requirement} has no row"),
                    remedy: format!("add one below \"## {section}\""),
                });
            }
        }
    }
    for (name, file) in tests {
        for rfc in rfcs_named(name) {
            let is_named = |row: &Row| row.is_of(rfc) && row.tests.contains(name);
            if !rows.iter().any(is_named) {
                complaints.push(Complaint {
                    line: 0,
                    what: format!("no row of RFC {rfc} names {name} of {}", file.display()),
                    remedy: "name it where the requirement stands that it tests, or rename it"
                        .into(),
                });
            }
        }
    }
    complaints
}

fn about_row(row: &Row, tests: &Tests, all: &[(&str, &[&str])], complaints: &mut Vec<Complaint>) {
    let mut complain = |what: String, remedy: &str| {
        complaints.push(Complaint {
            line: row.line,
            what,
            remedy: remedy.to_owned(),
        });
    };
    let id = &row.requirement;
    let is_listed =
        |(section, ids): &(&str, &[&str])| *section == row.section && ids.contains(&id.as_str());
    if !all.iter().any(is_listed) {
        complain(
            format!("{} {id} is no requirement that is known", row.section),
            "mend it, or add it to tests/conformance/requirements.rs",
        );
    }
    for name in row.tests.iter().filter(|name| !tests.contains_key(*name)) {
        complain(
            format!("{id} names the test {name}, which does not exist"),
            "mend the name, or write the test",
        );
    }
    let holds = row.states.contains(&Some(State::Holds));
    if holds && row.tests.is_empty() {
        complain(
            format!("{id} holds, says who?"),
            "name a test that shows it, or write one",
        );
    }
}

/// The RFCs a test's name begins with or joins by `_and_`: `rfc4787_req8_and_rfc5382_req3_filtering`.
fn rfcs_named(name: &str) -> impl Iterator<Item = u32> {
    let number = |word: &str| word.strip_prefix("rfc")?.parse().ok();
    let begins = name.split('_').next().and_then(number).is_some();
    name.split('_').filter(move |_| begins).filter_map(number)
}
