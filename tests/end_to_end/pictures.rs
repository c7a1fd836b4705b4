//! The pictures hold, each by its own checks, and draw the lab that they build.
use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use nat_tests::{
    netns::{
        Hook, Namespace, Report,
        process::{Finished, finish},
    },
    pictures::{PICTURES, find},
};

use crate::standing::program;

pub fn internet_gateway_picture_holds(hook: Hook) {
    holds("internet-gateway", hook);
}

pub fn nat_instance_picture_holds(hook: Hook) {
    holds("nat-instance", hook);
}

pub fn gateway_endpoint_picture_holds(hook: Hook) {
    holds("gateway-endpoint", hook);
}

pub fn interface_endpoint_picture_holds(hook: Hook) {
    holds("interface-endpoint", hook);
}

pub fn endpoint_service_picture_holds(hook: Hook) {
    holds("endpoint-service", hook);
}

pub fn proxy_picture_holds(hook: Hook) {
    holds("proxy", hook);
}

pub fn metadata_picture_holds(hook: Hook) {
    holds("metadata", hook);
}

pub fn placement_picture_holds(hook: Hook) {
    holds("placement", hook);
}

fn holds(name: &str, hook: Hook) {
    let picture = find(name).expect("a picture");
    let mut report = Report::new(hook, |check| println!("{}", check.line()));
    let mut shown = false;
    let mut show = |nodes: &[&Namespace], text: &str| {
        println!("{text}");
        for node in nodes {
            for address in node.addresses()? {
                // Not a part of another one.
                let is_other = |c: char| !c.is_ascii_digit() && c != '.';
                let mut words = picture.diagram.split(is_other);
                let is_drawn = words.any(|word| word.trim_end_matches('.') == address.to_string());
                assert!(is_drawn, "{address} of {} is not drawn", node.label());
            }
        }
        shown = true;
        Ok(())
    };
    picture.check(&program(), hook, &mut report, &mut show);
    let failed: Vec<_> = report.failed().map(|check| check.line()).collect();
    assert!(
        report.all_held(),
        "{name} on {hook}:\n{}",
        failed.join("\n")
    );
    assert!(shown, "nothing was shown");
}

fn lab(arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat-lab"));
    finish(command.args(arguments), Duration::from_secs(10)).expect("nat-lab")
}

#[test]
fn the_list_has_every_picture_there_is() {
    let list = lab(&["pictures"]).success().expect("the list");
    let listed: Vec<_> = list
        .lines()
        .map(|line| line.split_once("  ").expect("a name and what it shows"))
        .collect();
    let known = PICTURES.iter().map(|each| (each.name, each.title));
    assert!(
        listed
            .iter()
            .map(|(name, title)| (*name, title.trim_start()))
            .eq(known),
        "{list}"
    );

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    let files = folder.read_dir().expect("the pictures");
    let files: BTreeSet<_> = files
        .map(|file| file.expect("a file").file_name())
        .filter(|file| file != "mod.rs")
        .collect();
    let named: BTreeSet<_> = PICTURES
        .iter()
        .map(|each| format!("{}.rs", each.name.replace('-', "_")).into())
        .collect();
    assert_eq!(files, named);

    let readme = folder.join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    for picture in PICTURES {
        let row = format!("| `{}` | ", picture.name);
        assert!(readme.contains(&row), "README.md lacks {}", picture.name);
    }
}

#[test]
fn an_unknown_picture_is_refused_with_those_there_are() {
    let said = lab(&["picture", "nosuch", "--nat", "nat"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    for picture in PICTURES {
        assert!(said.stderr.contains(picture.name), "{}", said.stderr);
    }
}
