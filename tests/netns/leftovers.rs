//! What a node still carries of a dataplane: pins, XDP and TC programs, clsact queueing disciplines,
//! forwarding switched on. After `nat down` there is nothing.
use std::{fs, io, path::Path};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::{
    link::{LinkAttribute, LinkXdp, XdpAttached},
    tc::TcAttribute,
};

use super::{Namespace, namespace::BPF_FS};

/// One line per pin, attached program, clsact and forwarding interface found on `node`; none when it is clean.
/// The labs start their edges with forwarding off. An interface that goes away meanwhile carries nothing: that of
/// the controller's services does so some time after its controller, when the kernel takes their namespace down.
pub fn leftovers(node: &Namespace) -> Result<Vec<String>> {
    let mut found = node.run(|| {
        let mut pins = Vec::new();
        list_pins(Path::new(BPF_FS), &mut pins).context("listing pins")?;
        Ok(pins)
    })?;
    for (index, device, has_xdp) in links(node)? {
        if has_xdp {
            found.push(format!("XDP program on {device}"));
        }
        if is_forwarding(node, &device)? {
            found.push(format!("forwarding on {device}"));
        }
        for (direction, attach_type) in [("ingress", BPF_TCX_INGRESS), ("egress", BPF_TCX_EGRESS)] {
            let count = node.run(|| Ok(tcx_programs(index, attach_type)?))?;
            if count > 0 {
                found.push(format!("{count} TCX program(s) on {device} {direction}"));
            }
        }
    }
    found.extend(clsact(node)?);
    Ok(found)
}

/// The same as one text: `nothing`, or what was found.
pub fn leftovers_text(node: &Namespace) -> Result<String> {
    let found = leftovers(node)?;
    Ok(if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.join(", ")
    })
}

/// Names the kernel itself may put into a fresh BPF file system.
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

fn list_pins(folder: &Path, pins: &mut Vec<String>) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        if KERNELS_OWN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        pins.push(format!("pin {}", entry.path().display()));
        if entry.file_type()?.is_dir() {
            list_pins(&entry.path(), pins)?;
        }
    }
    Ok(())
}

/// Index and name of every interface, and whether an XDP program is attached to it.
fn links(node: &Namespace) -> Result<Vec<(u32, String, bool)>> {
    let messages: Vec<_> =
        node.netlink(|handle| async move { handle.link().get().execute().try_collect().await })?;
    Ok(messages
        .into_iter()
        .map(|message| {
            let mut name = String::new();
            let mut has_xdp = false;
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(text) => name = text,
                    LinkAttribute::Xdp(values) => {
                        has_xdp = values
                            .iter()
                            .any(|value| matches!(value, LinkXdp::Attached(mode) if *mode != XdpAttached::None));
                    }
                    _ => (),
                }
            }
            (message.header.index, name, has_xdp)
        })
        .collect())
}

fn is_forwarding(node: &Namespace, device: &str) -> Result<bool> {
    let path = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
    node.run(|| match fs::read_to_string(&path) {
        Ok(value) => Ok(value.trim() != "0"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| path.clone()),
    })
}

fn clsact(node: &Namespace) -> Result<Vec<String>> {
    let messages: Vec<_> =
        node.netlink(|handle| async move { handle.qdisc().get().execute().try_collect().await })?;
    Ok(messages
        .into_iter()
        .filter(|message| {
            message
                .attributes
                .contains(&TcAttribute::Kind("clsact".to_owned()))
        })
        .map(|message| format!("clsact on interface {}", message.header.index))
        .collect())
}

const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// `union bpf_attr` for BPF_PROG_QUERY, whole: the kernel writes the revision whatever size it is told.
#[repr(C)]
#[derive(Default)]
struct ProgramQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// How many programs TCX holds on an interface of the calling thread's namespace.
fn tcx_programs(target_ifindex: u32, attach_type: u32) -> io::Result<u32> {
    let mut query = ProgramQuery {
        target_ifindex,
        attach_type,
        ..ProgramQuery::default()
    };
    // SAFETY: the kernel reads and writes at most the size given, inside `query`, which outlives the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut query,
            size_of::<ProgramQuery>(),
        )
    };
    match status {
        0 => Ok(query.count),
        _ => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // Before 6.6 there is no TCX.
                Some(libc::EINVAL | libc::ENODEV) => Ok(0),
                _ => Err(error),
            }
        }
    }
}
