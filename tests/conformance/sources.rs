//! Finds the tests in the sources: functions marked as such, and the names in the lists that macros
//! make tests of.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The folders that hold tests, from the workspace's root.
const FOLDERS: [&str; 4] = ["nat-common/src", "nat-userspace/src", "tests", "xtask/src"];

/// Calls of macros that make a test, or one for each hook, of each line, and what a line looks like.
const LISTS: [(&str, List); 2] = [
    ("on_both_hooks! {", List::Arrow),
    ("on_every_hook! {", List::Path),
];

#[derive(Clone, Copy)]
enum List {
    /// `name => function;`
    Arrow,
    /// `module::name,`
    Path,
}

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
    let mut list = None;
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        if let Some(kind) = list {
            if line == "}" {
                list = None;
            } else {
                names.extend(listed(kind, line));
            }
            continue;
        }
        list = LISTS
            .into_iter()
            .find_map(|(call, kind)| (line == call).then_some(kind));
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

fn listed(kind: List, line: &str) -> Option<String> {
    let name = match kind {
        List::Arrow => line.split_once(" =>")?.0,
        List::Path => line.split_once("::")?.1.trim_end_matches(','),
    };
    (identifier(name) == name && !name.is_empty()).then(|| name.to_owned())
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
