//! Traffic at a moderate rate: what full buffers lose says nothing about who forwards.
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Connection, Namespace, raw::bytes, sockets::ANY};

/// Of an exchange, each way.
const CHUNK: usize = 8192;
const PAUSE: Duration = Duration::from_millis(2);

/// Does `work` so many times a second until it is told to stop. Who was kept from it does not make up for it.
pub fn paced(
    stop: &AtomicBool,
    rate: u32,
    pause: Duration,
    mut work: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut last = Instant::now();
    let mut owed = 0.0;
    while !stop.load(Relaxed) {
        thread::sleep(pause);
        let now = Instant::now();
        let passed = now.duration_since(last).min(2 * pause);
        last = now;
        owed += passed.as_secs_f64() * f64::from(rate);
        while owed >= 1.0 {
            work()?;
            owed -= 1.0;
        }
    }
    Ok(())
}

/// A TCP connection whose client writes some bytes, reads them back and compares them, again and again.
#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    exchanges: AtomicU64,
}

impl Stream {
    pub fn open(client: &Namespace, to: &str, listener: &TcpListener) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(client, ANY, to, listener)?,
            exchanges: AtomicU64::new(0),
        })
    }

    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Relaxed)
    }

    pub fn run(&self, stop: &AtomicBool) -> Result<()> {
        let Connection { client, server, .. } = &self.connection;
        let mut buffer = vec![0; CHUNK];
        while !stop.load(Relaxed) {
            let count = self.exchanges() + 1;
            let chunk = bytes(CHUNK, count as u8);
            for (mut from, mut to) in [(client, server), (server, client)] {
                from.write_all(&chunk)?;
                to.read_exact(&mut buffer)
                    .with_context(|| format!("exchange {count}"))?;
                ensure!(buffer == chunk, "exchange {count}: other bytes arrived");
            }
            self.exchanges.store(count, Relaxed);
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Segments that were sent again because they were lost, at either end. One that was late only is known
    /// by the receiver's word that it came twice (RFC 2883).
    pub fn fault(&self) -> Option<String> {
        let Connection { client, server, .. } = &self.connection;
        for end in [client, server] {
            match retransmitted(end) {
                Ok((again, twice)) if again > twice => {
                    let seen = self.connection.seen;
                    return Some(format!(
                        "the stream from {seen} sent {again} segments again, of which {twice} came twice"
                    ));
                }
                Ok(_) => {}
                Err(error) => return Some(format!("TCP_INFO: {error:#}")),
            }
        }
        None
    }
}

/// Segments that were sent again, and those of them that came twice.
fn retransmitted(stream: &TcpStream) -> Result<(u32, u32)> {
    // `tcpi_total_retrans` and `tcpi_dsack_dups` of `struct tcp_info`, which has only ever been extended.
    const WORDS: usize = 64;
    const AGAIN: usize = 100 / 4;
    const TWICE: usize = 216 / 4;
    let mut words = [0_u32; WORDS];
    let mut length = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `words`, and how many into `length`.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            words.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    ensure!(status == 0, std::io::Error::last_os_error());
    Ok((words[AGAIN], words[TWICE]))
}
