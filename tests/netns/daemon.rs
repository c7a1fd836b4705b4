//! Programs that serve until they are ended, such as nginx, in the foreground of a node: web_server.rs and squid.rs.
//! All files of one are in a /run that it alone has, so that nothing of it is left however a lab ends.
use std::{
    fs::{self, File},
    io,
    os::unix::{fs::chown, process::CommandExt},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{User, setgid, setgroups, setuid},
};

use super::{EXCHANGE, Namespace};

/// The folder of a program's files, which it may write to.
pub const FOLDER: &str = "/run/files";
/// Where its configuration is.
pub const CONFIGURATION: &str = "/run/files/configuration";
/// What it says, both streams.
const WORDS: &str = "words";

/// How long a program may take until it listens: the machine may be busy.
const READY: Duration = Duration::from_secs(60);

/// How to start a program.
pub struct Start<'a> {
    pub program: &'a str,
    pub arguments: &'a [&'a str],
    /// Written to [`CONFIGURATION`].
    pub configuration: &'a str,
    /// The TCP port that it listens on, for IPv4, when it is ready.
    pub port: u16,
    /// Left out: root.
    pub user: Option<&'a str>,
}

/// A running program. It is killed when this is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    program: String,
    /// Its node, with its files.
    node: Namespace,
}

impl Daemon {
    /// Starts a program on `node`, and waits until it listens.
    pub fn start(node: &Namespace, start: &Start<'_>) -> Result<Self> {
        let node = node.with_own_files(None)?;
        let user = start.user.map(user).transpose()?;
        let words = node.run(|| {
            fs::create_dir(FOLDER).context(FOLDER)?;
            fs::write(CONFIGURATION, start.configuration).context(CONFIGURATION)?;
            if let Some(user) = &user {
                chown(FOLDER, Some(user.uid.as_raw()), Some(user.gid.as_raw())).context(FOLDER)?;
            }
            File::create(format!("{FOLDER}/{WORDS}")).context(WORDS)
        })?;
        let mut command = node.command(start.program);
        command
            .args(start.arguments)
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words);
        if let Some(User { uid, gid, .. }) = user {
            let become_user = move || -> io::Result<()> {
                setgroups(&[])?;
                setgid(gid)?;
                setuid(uid)?;
                // It is lost with the user.
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                Ok(())
            };
            // SAFETY: between fork and exec this makes system calls only: it neither allocates nor locks.
            unsafe { command.pre_exec(become_user) };
        }
        let child = command.spawn().with_context(|| {
            format!(
                "cannot start {}: `cargo xtask run` and `cargo xtask test` install it",
                start.program
            )
        })?;
        let mut daemon = Self {
            child,
            program: start.program.to_owned(),
            node,
        };
        daemon.wait_until_listening(start.port)?;
        Ok(daemon)
    }

    /// What is in a file of its folder.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = format!("{FOLDER}/{file}");
        self.node
            .run(|| fs::read_to_string(&path).with_context(|| path.clone()))
    }

    /// The lines of a file as one, or `nothing`.
    pub fn lines(&self, file: &str) -> Result<String> {
        let text = self.read(file)?;
        let lines: Vec<_> = text.lines().collect();
        Ok(match lines[..] {
            [] => "nothing".to_owned(),
            _ => lines.join("; "),
        })
    }

    /// The last line of a file that has all of these words, which may still be to come.
    pub fn line(&self, file: &str, words: &[&str]) -> Result<String> {
        let start = Instant::now();
        loop {
            let text = self.read(file)?;
            let mut lines = text.lines();
            if let Some(line) =
                lines.rfind(|line| words.iter().all(|word| line.split(' ').any(|w| w == *word)))
            {
                return Ok(line.to_owned());
            }
            if start.elapsed() > EXCHANGE {
                bail!("no line about {} in:\n{text}", words.join(" "));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_until_listening(&mut self, port: u16) -> Result<()> {
        let start = Instant::now();
        while !self.listens(port)? {
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > READY {
                let how = ended.map_or("does not listen".to_owned(), |how| how.to_string());
                bail!("{}: {how}; it said:\n{}", self.program, self.read(WORDS)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Nobody has to connect for that, who would be in its log.
    fn listens(&self, port: u16) -> Result<bool> {
        let table = self
            .node
            .run(|| Ok(fs::read_to_string("/proc/thread-self/net/tcp")?))?;
        let (port, listening) = (format!(":{port:04X}"), "0A");
        Ok(table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port))
                && fields.nth(1) == Some(listening)
        }))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user(name: &str) -> Result<User> {
    User::from_name(name)?.with_context(|| format!("no user {name}"))
}
