//! Finds the tests in the sources: functions marked as such, and the names in the lists that macros
//! make tests of.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The folders that hold tests, from the workspace's root.
const FOLDERS: [&str; 4] = ["nat-common/src", "nat-userspace/src", "tests", "xtask/src"];

/// Calls of macros that make tests, for one hook or more, of each line: `name => function;` or
/// `module::name,`.
const LISTS: [&str; 3] = ["on_both_hooks! {", "on_every_hook! {", "on_tc! {"];

/// Names of tests, and the file each is in.
pub type Tests = BTreeMap<String, PathBuf>;

/// All tests of the workspace.
pub fn tests_below(root: &Path) -> Tests {
    let mut tests = Tests::new();
    for folder in FOLDERS {
        visit(&root.join(folder), &mut |file, text| {
            let place = file.strip_prefix(root).unwrap_or(file);
            for name in names(text) {
                tests.insert(name, place.to_owned());
            }
        });
    }
    tests
}

fn visit(folder: &Path, file: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Its own samples are no tests.
        if path.is_dir() && path.ends_with("tests/conformance") {
            continue;
        }
        if path.is_dir() {
            visit(&path, file);
        } else if path.extension().is_some_and(|end| end == "rs") {
            file(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// The tests in one file. Those that are ignored prove nothing, and are left out.
pub fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_list = false;
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        if in_list {
            in_list = line != "}";
            names.extend(listed(line));
            continue;
        }
        in_list = LISTS.contains(&line);
        is_test |= line.contains("#[test]") || line.contains("#[tokio::test");
        is_ignored |= line.contains("#[ignore");
        if !is_test {
            continue;
        }
        if let Some((_, after)) = line.split_once("fn ") {
            let name = identifier(after);
            // A macro's definition has `$name` there.
            if !name.is_empty() && !is_ignored {
                names.push(name.to_owned());
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// The test that a line of a list names.
fn listed(line: &str) -> Option<String> {
    let name = match (line.split_once(" =>"), line.split_once("::")) {
        (Some((name, _)), _) => name,
        (None, Some((_, name))) => name.trim_end_matches(','),
        (None, None) => return None,
    };
    (identifier(name) == name && !name.is_empty()).then(|| name.to_owned())
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
