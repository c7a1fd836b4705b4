//! The kernel modules a lab needs, with those they depend on, in the order they have to be loaded in.
//!
//! An unpacked kernel package has no modules.dep (that is made at installation), so the dependencies are read
//! from the modules themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::tool;

/// Links, bridges, and both ways to attach to TC. What is missing is taken to be built in.
const WANTED: [&str; 10] = [
    "veth",
    "bridge",
    "dummy",
    "tun",
    "macvlan",
    "8021q",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "act_mirred",
];

pub struct Module {
    pub name: String,
    /// Uncompressed.
    pub content: Vec<u8>,
}

/// The wanted modules found under `folder` (`lib/modules/<release>`), each after those it depends on.
pub fn collect(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(&folder.join("kernel"), &mut files)?;
    let wanted: Vec<&str> = WANTED
        .into_iter()
        .filter(|name| files.contains_key(*name))
        .collect();
    let mut contents = BTreeMap::new();
    let order = closure(&wanted, |name| {
        let file = files.get(name).with_context(|| {
            format!(
                "the module {name} is not in {}; is the kernel complete?",
                folder.display()
            )
        })?;
        let content = read(file)?;
        let needs = dependencies(&content)
            .with_context(|| format!("{} does not look like a kernel module", file.display()))?;
        contents.insert(name.to_owned(), content);
        Ok(needs)
    })?;
    let module = |name: String| {
        contents
            .remove(&name)
            .map(|content| Module { name, content })
    };
    Ok(order.into_iter().filter_map(module).collect())
}

/// Module name -> file, for everything below `folder`.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let unreadable = || format!("cannot read the modules in {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        if entry.file_type().with_context(unreadable)?.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = path
            .file_name()
            .and_then(|name| module_name(name.to_str()?))
        {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The kernel's name for the module in a file of that name: `nf-nat.ko.xz` holds `nf_nat`.
fn module_name(file_name: &str) -> Option<String> {
    let (name, compression) = file_name.split_once(".ko")?;
    matches!(compression, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    if tool::find(program).is_none() {
        bail!(
            "{} is compressed and `{program}` is not installed; install it",
            file.display()
        );
    }
    let output = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} cannot unpack {}: {}; remove the unpacked kernel from the cache and try again",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// What the module's own `depends=` entry names (every module has one, mostly empty).
fn dependencies(module: &[u8]) -> Option<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let start = module.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let value = module[start..].split(|byte| *byte == 0).next()?;
    let value = std::str::from_utf8(value).ok()?;
    Some(
        value
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect(),
    )
}

/// `wanted` and all they need, each once and after what it needs.
fn closure(
    wanted: &[&str],
    mut needs: impl FnMut(&str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    fn visit(
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
        needs: &mut dyn FnMut(&str) -> Result<Vec<String>>,
    ) -> Result<()> {
        if seen.insert(name.to_owned()) {
            for need in needs(name)? {
                visit(&need, seen, order, needs)?;
            }
            order.push(name.to_owned());
        }
        Ok(())
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in wanted {
        visit(name, &mut seen, &mut order, &mut needs)?;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_give_module_names() {
        assert_eq!(module_name("veth.ko").as_deref(), Some("veth"));
        assert_eq!(
            module_name("virtio-rng.ko.xz").as_deref(),
            Some("virtio_rng")
        );
        assert_eq!(module_name("veth.ko.zst").as_deref(), Some("veth"));
        assert_eq!(module_name("modules.order"), None);
        assert_eq!(module_name("veth.ko.sig"), None);
    }

    #[test]
    fn dependencies_are_read_from_the_module() {
        let module = b"\x7fELF..\0alias=rtnl-link-bridge\0depends=llc,nf-nat\0retpoline=Y\0";
        assert_eq!(dependencies(module).unwrap(), ["llc", "nf_nat"]);
        assert_eq!(dependencies(b"license=GPL\0depends=\0").unwrap(), [""; 0]);
        assert_eq!(dependencies(b"#!/bin/sh"), None);
    }

    #[test]
    fn closure_puts_what_is_needed_first_and_once() {
        let needs = |name: &str| {
            Ok(match name {
                "bridge" => vec!["stp".to_owned(), "llc".to_owned()],
                "stp" => vec!["llc".to_owned()],
                // Even a circle ends.
                "loop" => vec!["loop".to_owned()],
                _ => vec![],
            })
        };
        let order = closure(&["veth", "bridge", "stp", "loop"], needs).unwrap();
        assert_eq!(order, ["veth", "llc", "stp", "bridge", "loop"]);
    }

    #[test]
    fn closure_reports_what_is_missing() {
        assert!(closure(&["veth"], |name| bail!("no {name}")).is_err());
    }
}
