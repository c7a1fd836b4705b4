//! `cargo xtask run`: builds everything and runs the main job in the lab (tests/lab_main.rs), or a picture, here or
//! in a VM.
//!
//! The lab's stdout is this command's stdout; all that this command says itself goes to stderr.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{packages, privilege::Privilege, setup, tool, vm};

#[derive(clap::Args)]
pub struct Arguments {
    /// Show this well-known diagram of a VPC instead of the main job
    #[arg(long, value_name = "NAME")]
    picture: Option<String>,
    /// Print the names of the pictures and what they show
    #[arg(long, exclusive = true)]
    list: bool,
    /// Only this hook (may be given more than once); all by default
    #[arg(long, value_name = "HOOK", value_parser = ["xdp", "xdp-generic", "tc", "all"])]
    hook: Vec<String>,
    /// Keep the lab and print how to enter it
    #[arg(long, conflicts_with = "vm")]
    hold: bool,
    /// Print the checks as JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Run in a test VM
    #[arg(long)]
    vm: bool,
    /// The VM's kernel: a version that apt knows (6.1, 6.12, ...), a .deb, or a bzImage
    #[arg(
        long,
        value_name = "VERSION|PATH",
        default_value = "6.1",
        requires = "vm"
    )]
    kernel: String,
    /// How long the VM may take
    #[arg(long, value_name = "MINUTES", default_value_t = 10, requires = "vm")]
    time_limit: u64,
}

pub fn command(arguments: &Arguments) -> Result<u8> {
    if arguments.list {
        print!("{}", pictures()?);
        return Ok(0);
    }
    if let Some(name) = &arguments.picture
        && let Err(refusal) = find_picture(name, &pictures()?)
    {
        eprintln!("error: {refusal}");
        return Ok(2);
    }
    let programs = match &arguments.picture {
        Some(name) => programs(name)?,
        None => Vec::new(),
    };
    if arguments.vm {
        if !programs.is_empty() {
            eprintln!(
                "error: this picture takes {}, which the VM has not; leave out --vm",
                programs.join(" and ")
            );
            return Ok(2);
        }
        setup::ensure_build()?;
        setup::ensure_vm()?;
        // Before the build, so that a kernel that is not to be had is told at once.
        let kernel = vm::kernel::Kernel::find(&arguments.kernel)?;
        let binaries = build(&[])?;
        let limit = Duration::from_secs(arguments.time_limit * 60);
        let lab = lab_arguments(arguments, "/bin/nat");
        let command: Vec<String> = std::iter::once("/bin/nat-lab".to_owned())
            .chain(lab)
            .collect();
        return vm::run(&kernel, &[binaries.nat, binaries.lab], &command, limit);
    }

    // Before the build, so that nobody waits for minutes to read that root is needed.
    let privilege = Privilege::acquire("running the lab (network namespaces, BPF programs)")?;
    setup::ensure_build()?;
    let programs: Vec<_> = programs.iter().map(String::as_str).collect();
    packages::ensure_programs("this picture", &programs)?;
    let binaries = build(&[])?;
    let nat = binaries
        .nat
        .to_str()
        .context("the path of the target folder is not UTF-8")?;
    // In this program's place: signals and the exit status are the lab's own.
    let error = privilege
        .command(&binaries.lab)
        .args(lab_arguments(arguments, nat))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", binaries.lab.display()))
}

/// The pictures as `nat-lab` lists them, which is built alone for that: a name and what it shows in each line.
fn pictures() -> Result<String> {
    build_some(&["--bin", LAB])?;
    tool::capture(Command::new(folder()?.join(LAB)).arg("pictures"))
}

/// What the lab of a picture takes beside `nat`, as `nat-lab`, which was built for the list, says.
fn programs(picture: &str) -> Result<Vec<String>> {
    let list = tool::capture(Command::new(folder()?.join(LAB)).args(["programs", picture]))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// # Errors
/// When no line of `list` begins with `name`: the message names those there are.
fn find_picture(name: &str, list: &str) -> Result<(), String> {
    let mut names = list.lines().filter_map(|line| line.split(' ').next());
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let first = names.next().unwrap_or_default().to_owned();
    let names = names.fold(first, |names, name| names + ", " + name);
    Err(format!("there is no picture {name:?}; there are: {names}"))
}

const LAB: &str = "nat-lab";

/// The programs of the main job.
pub struct Binaries {
    pub nat: PathBuf,
    pub lab: PathBuf,
}

/// Builds `nat` (with the BPF object inside), `nat-lab`, and what these flags of cargo name beside all programs.
pub fn build(more: &[&str]) -> Result<Binaries> {
    build_some(&[&["--bins"], more].concat())?;
    let folder = folder()?;
    let binaries = Binaries {
        nat: folder.join("nat"),
        lab: folder.join(LAB),
    };
    for binary in [&binaries.nat, &binaries.lab] {
        if !binary.is_file() {
            bail!(
                "the build left no program at {}; run this command as `cargo xtask`",
                binary.display()
            );
        }
    }
    Ok(binaries)
}

/// Always of the same packages and as the tests are built, so that what they share is built once. Not of this
/// one: it would be replaced while it runs.
fn build_some(targets: &[&str]) -> Result<()> {
    const PACKAGES: [&str; 4] = ["build", "--workspace", "--exclude", "xtask"];
    tool::run(tool::cargo().args(PACKAGES).args(targets))
}

fn folder() -> Result<PathBuf> {
    Ok(tool::target_dir()?.join("debug"))
}

fn lab_arguments(arguments: &Arguments, nat: &str) -> Vec<String> {
    let mut words = match &arguments.picture {
        Some(name) => vec!["picture".to_owned(), name.clone()],
        None => vec!["main".to_owned()],
    };
    words.extend(["--nat".to_owned(), nat.to_owned()]);
    for hook in &arguments.hook {
        words.extend(["--hook".to_owned(), hook.clone()]);
    }
    for (given, flag) in [(arguments.hold, "--hold"), (arguments.json, "--json")] {
        if given {
            words.push(flag.to_owned());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_picture_is_told_those_there_are() {
        let list = "internet-gateway  two instances\nplacement         groups\n";
        assert_eq!(find_picture("placement", list), Ok(()));
        let refusal = find_picture("place", list).expect_err("no such picture");
        assert_eq!(
            refusal,
            "there is no picture \"place\"; there are: internet-gateway, placement"
        );
    }
}
