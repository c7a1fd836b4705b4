//! Running other programs: cargo, and whatever else is in the PATH. All progress goes to stderr.

use std::{
    env,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The workspace this program was built in, also when it was moved since.
pub fn workspace_root() -> PathBuf {
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest_dir = PathBuf::from(manifest_dir);
    manifest_dir
        .parent()
        .map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// Cargo's output folder, whatever set it: this program is in its `debug` or `release`.
pub fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find out where this program is")?;
    program
        .parent()
        .and_then(Path::parent)
        .map(Path::to_path_buf)
        .with_context(|| {
            format!(
                "{} is not in a target folder; run it by `cargo xtask`",
                program.display()
            )
        })
}

/// The program of that name in the PATH (and in the folders for the administrator's programs), or the file of
/// that whole path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The cargo that runs this program, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    command
}

/// Runs a program whose stdout is progress, so it goes to stderr with the rest.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdout(stderr_handle()?)
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!(
            "{} failed ({status}); its messages are above",
            describe(command)
        );
    }
    Ok(())
}

/// Runs a program quietly and returns what it printed; when it fails the error carries its messages.
pub fn capture(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!(
            "{} failed ({status}): {}",
            describe(command),
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// The status a shell would report: the program's own, or 128 + the signal that ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

fn stderr_handle() -> Result<Stdio> {
    use std::os::fd::AsFd as _;
    let handle = std::io::stderr().as_fd().try_clone_to_owned();
    Ok(handle.context("cannot duplicate stderr")?.into())
}
