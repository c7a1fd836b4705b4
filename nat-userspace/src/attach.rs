//! Puts the programs on interfaces, by links that stay when the controller goes.
//!
//! Every interface gets the TC program: TCX from kernel 6.6 on, a clsact qdisc before. Those chosen
//! for XDP get the XDP program in front of it.

use std::{fs, io, mem, path::Path};

use aya::{
    Ebpf,
    programs::{
        SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
        xdp::XdpLink,
    },
    util::KernelVersion,
};
use nat_common::map_types::Interface;

use crate::{
    bpf_syscall::detach_pinned_link,
    config::Attach,
    error::{Error, Result, chain},
    host::HostInterface,
    loader::{TC_PROGRAM, XDP_PROGRAM, program},
    pins::Pins,
};

/// Where our filter stands on a clsact qdisc; fixed, so that a new controller finds it.
const CLSACT_PRIORITY: u16 = 49_152;
const CLSACT_HANDLE: TcHandle = TcHandle::new(0, 1);

/// What an interface got in front of the TC program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's receive path.
    XdpGeneric,
    /// Nothing: TC alone.
    Tc,
}

impl Hook {
    /// The name in the configuration and the CLI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
        }
    }

    const fn xdp_mode(self) -> Option<XdpMode> {
        match self {
            Self::Xdp => Some(XdpMode::Driver),
            Self::XdpGeneric => Some(XdpMode::Skb),
            Self::Tc => None,
        }
    }

    /// Name of its pinned link on this interface.
    pub fn pin_name(self, interface: &str) -> String {
        format!("{}@{interface}", self.name())
    }

    /// The hook and interface a pin name stands for.
    pub fn parse_pin_name(name: &str) -> Option<(Self, &str)> {
        let (hook, interface) = name.split_once('@')?;
        [Self::Xdp, Self::XdpGeneric, Self::Tc]
            .into_iter()
            .find(|known| known.name() == hook)
            .map(|known| (known, interface))
    }
}

/// An interface with the programs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub interface: HostInterface,
    /// What is in front of TC.
    pub hook: Hook,
    /// Bits of [`Interface`] that say how to detach.
    pub flags: u32,
}

/// What [`attach_all`] is going to do, as far as can be said before.
pub fn plan(interfaces: &[HostInterface], mode: Attach) -> Vec<Attached> {
    let flags = if has_tcx() { 0 } else { Interface::CLSACT };
    interfaces
        .iter()
        .map(|interface| Attached {
            interface: interface.clone(),
            hook: wanted(interface, mode),
            flags,
        })
        .collect()
}

fn wanted(interface: &HostInterface, mode: Attach) -> Hook {
    match mode {
        // TC alone delivers there, and gets the answers with partial checksums.
        _ if interface.is_services => Hook::Tc,
        Attach::Xdp => Hook::Xdp,
        Attach::XdpGeneric => Hook::XdpGeneric,
        Attach::Tc => Hook::Tc,
        // On virtual interfaces packets come with partial checksums, which XDP can't see.
        Attach::Auto if interface.is_physical => Hook::Xdp,
        Attach::Auto => Hook::Tc,
    }
}

/// Attaches to every interface, taking over links that are there, and removes our links from others.
/// `attached` grows by each interface that got anything, also when an error follows.
///
/// # Errors
///
/// The first interface that can't be attached to; what was attached before stays, for the caller to
/// keep or tear down.
pub fn attach_all(
    ebpf: &mut Ebpf,
    pins: &Pins,
    interfaces: &[HostInterface],
    mode: Attach,
    attached: &mut Vec<Attached>,
) -> Result<()> {
    for interface in interfaces {
        let flags = attach_tc(ebpf, pins, &interface.name)?;
        attached.push(Attached {
            interface: interface.clone(),
            hook: Hook::Tc,
            flags,
        });
        let hook = attach_xdp(ebpf, pins, interface, mode)?;
        if let Some(last) = attached.last_mut() {
            last.hook = hook;
        }
    }
    remove_others(pins, attached)
}

fn attach_xdp(
    ebpf: &mut Ebpf,
    pins: &Pins,
    interface: &HostInterface,
    mode: Attach,
) -> Result<Hook> {
    let wanted = wanted(interface, mode);
    let Some(xdp_mode) = wanted.xdp_mode() else {
        return Ok(Hook::Tc);
    };
    let path = pins.links().join(wanted.pin_name(&interface.name));
    // Two modes can't be on one interface: the other one makes room first.
    for other in [Hook::Xdp, Hook::XdpGeneric] {
        if other != wanted {
            remove_pin(&pins.links().join(other.pin_name(&interface.name)))?;
        }
    }
    let xdp: &mut Xdp = program(ebpf, XDP_PROGRAM)?;
    if let Some(link) = pinned(&path)
        && let Ok(link) = XdpLink::try_from(link)
        && xdp.attach_to_link(link).is_ok()
    {
        return Ok(wanted);
    }
    remove_pin(&path)?;
    let link = match xdp.attach(&interface.name, xdp_mode) {
        Ok(id) => xdp.take_link(id)?,
        Err(error) if mode == Attach::Auto => {
            log::info!(
                "{}: no native XDP ({}); using TC",
                interface.name,
                chain(&error)
            );
            return Ok(Hook::Tc);
        }
        Err(error) => {
            return Err(Error::Attach {
                hook: wanted.name(),
                interface: interface.name.clone(),
                reason: chain(&error),
                remedy: "another XDP program may be on it (`ip link show` tells), its MTU may be too \
                         large for XDP, or its driver may lack XDP: attach = \"tc\" works everywhere",
            });
        }
    };
    let link = FdLink::try_from(link).map_err(|error| Error::Attach {
        hook: wanted.name(),
        interface: interface.name.clone(),
        reason: error.to_string(),
        remedy: "this kernel has no XDP links: use attach = \"tc\"",
    })?;
    pin(link, &path)?;
    Ok(wanted)
}

/// Answers the bits of [`Interface`] that say how to detach.
fn attach_tc(ebpf: &mut Ebpf, pins: &Pins, interface: &str) -> Result<u32> {
    let failed = |error: &dyn std::error::Error| Error::Attach {
        hook: "tc",
        interface: interface.to_owned(),
        reason: chain(error),
        remedy: "`tc filter show` and `bpftool net` tell what else is on it",
    };
    let tc: &mut SchedClassifier = program(ebpf, TC_PROGRAM)?;
    if !has_tcx() {
        return attach_clsact(tc, interface).map_err(|error| failed(error.as_ref()));
    }
    let path = pins.links().join(Hook::Tc.pin_name(interface));
    if let Some(link) = pinned(&path)
        && let Ok(link) = SchedClassifierLink::try_from(link)
        && tc.attach_to_link(link).is_ok()
    {
        return Ok(0);
    }
    remove_pin(&path)?;
    let id = tc
        .attach_with_options(
            interface,
            TcAttachType::Ingress,
            TcAttachOptions::TcxOrder(Default::default()),
        )
        .map_err(|error| failed(&error))?;
    let link = FdLink::try_from(tc.take_link(id)?).map_err(|error| failed(&error))?;
    pin(link, &path)?;
    Ok(0)
}

fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

fn attach_clsact(
    tc: &mut SchedClassifier,
    interface: &str,
) -> Result<u32, Box<dyn std::error::Error>> {
    let ours = match tc::qdisc_add_clsact(interface) {
        Ok(()) => Interface::CLSACT_OURS,
        Err(error) if is_already_there(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    let there = SchedClassifierLink::attached(
        interface,
        TcAttachType::Ingress,
        CLSACT_PRIORITY,
        CLSACT_HANDLE,
        None,
    )?;
    let id = match tc.attach_to_link(there) {
        Ok(id) => id,
        Err(_) => tc.attach_with_options(
            interface,
            TcAttachType::Ingress,
            TcAttachOptions::Netlink(NlOptions {
                priority: CLSACT_PRIORITY,
                handle: CLSACT_HANDLE,
                classid: None,
            }),
        )?,
    };
    // Such a link is no file descriptor: dropping it would take the filter away.
    mem::forget(tc.take_link(id)?);
    Ok(Interface::CLSACT | ours)
}

fn is_already_there(error: &TcError) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error() == Some(libc::EEXIST);
        }
        next = error.source();
    }
    false
}

/// Takes our filter off a clsact qdisc, and the qdisc too when it was made for it.
///
/// # Errors
///
/// What the kernel says; an interface or filter that is gone is no error.
pub fn detach_clsact(interface: &str, flags: u32) -> Result<()> {
    if flags & Interface::CLSACT == 0 {
        return Ok(());
    }
    match tc::qdisc_detach_program(interface, TcAttachType::Ingress, TC_PROGRAM) {
        Ok(()) => {}
        Err(TcError::IoError(_)) => return Ok(()),
        Err(error) => {
            return Err(Error::Attach {
                hook: "tc",
                interface: interface.to_owned(),
                reason: format!("detaching failed: {}", chain(&error)),
                remedy: "`tc qdisc del dev INTERFACE clsact` removes it by hand",
            });
        }
    }
    if flags & Interface::CLSACT_OURS != 0 {
        crate::qdisc::delete_clsact(interface)?;
    }
    Ok(())
}

fn pinned(path: &Path) -> Option<FdLink> {
    PinnedLink::from_pin(path).ok().map(FdLink::from)
}

fn pin(link: FdLink, path: &Path) -> Result<()> {
    link.pin(path).map(drop).map_err(|error| Error::Io {
        what: format!("pinning {}", path.display()),
        source: io::Error::other(chain(&error)),
    })
}

/// Detaches a pinned link and removes its pin; one that is gone is no error.
///
/// # Errors
///
/// When the pin can't be removed.
pub fn remove_pin(path: &Path) -> Result<()> {
    // A link whose interface is gone can't be detached, and need not be.
    let _ = detach_pinned_link(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn remove_others(pins: &Pins, attached: &[Attached]) -> Result<()> {
    let wanted: Vec<String> = attached
        .iter()
        .flat_map(|each| [each.hook, Hook::Tc].map(|hook| hook.pin_name(&each.interface.name)))
        .collect();
    let folder = pins.links();
    let entries =
        fs::read_dir(&folder).map_err(Error::io(format!("reading {}", folder.display())))?;
    for entry in entries.flatten() {
        if !wanted.contains(&entry.file_name().to_string_lossy().into_owned()) {
            remove_pin(&entry.path())?;
        }
    }
    Ok(())
}
