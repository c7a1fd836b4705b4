//! A small HTTP server that gives and takes one large file of known bytes, whose client is the machine's own
//! curl, or plain TCP where there is none; and a client that asks any server one thing.
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Namespace, sockets::ANY};

/// 100 MB, not a multiple of any block or segment size.
pub const LARGE: u64 = 100_000_003;

/// The file: every eight bytes are another number, so that nothing lost, doubled or swapped goes unseen.
#[derive(Debug)]
pub struct Pattern {
    at: u64,
    end: u64,
}

impl Pattern {
    pub fn new(length: u64) -> Self {
        Self { at: 0, end: length }
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let mut rest = buffer.get_mut(..length).unwrap_or_default();
        while !rest.is_empty() {
            // The multiplier is odd, so no two of these numbers are the same.
            let number = (self.at / 8)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes();
            let part = number.get((self.at % 8) as usize..).unwrap_or_default();
            let (now, later) = rest.split_at_mut(part.len().min(rest.len()));
            now.copy_from_slice(part.get(..now.len()).unwrap_or_default());
            self.at += now.len() as u64;
            rest = later;
        }
        Ok(length)
    }
}

/// Reads exactly `length` bytes and compares them with the pattern.
pub fn compare(source: &mut impl Read, length: u64) -> Result<()> {
    let mut pattern = Pattern::new(length);
    let (mut expected, mut buffer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let count = pattern.read(&mut expected)?;
        let (expected, seen) = (
            expected.get(..count).unwrap_or(&[]),
            buffer.get_mut(..count).unwrap_or(&mut []),
        );
        if count == 0 {
            return Ok(());
        }
        source
            .read_exact(seen)
            .with_context(|| format!("it ends before byte {}", at + count))?;
        if expected != seen {
            let first = expected
                .iter()
                .zip(&*seen)
                .position(|(a, b)| a != b)
                .unwrap_or_default();
            bail!("byte {} differs", at + first);
        }
        at += count;
    }
}

/// Serves connections until the process ends: GET gives the pattern, PUT compares the body with it.
pub fn serve(listener: TcpListener) -> Result<()> {
    // A listener of the lab gives up after a while; this one waits for as long as it takes.
    socket2::SockRef::from(&listener).set_read_timeout(None)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                // The client sees the broken connection; what went wrong is in its own words.
                let _ = answer(&stream);
            });
        }
    });
    Ok(())
}

fn answer(mut stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        ensure!(
            reader.read_line(&mut line)? > 0,
            "the request ends in its header"
        );
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_ascii_lowercase()),
        }
    }
    let header = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    match lines.first().map(|line| line.starts_with("put ")) {
        Some(true) => {
            let length = header("content-length")
                .context("no content-length")?
                .parse()?;
            if header("expect") == Some("100-continue") {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let verdict = match compare(&mut reader, length) {
                Ok(()) => format!("identical {length}"),
                Err(error) => format!("different: {error:#}"),
            };
            respond(stream, verdict.len() as u64)?;
            stream.write_all(verdict.as_bytes())?;
        }
        _ => {
            respond(stream, LARGE)?;
            io::copy(&mut Pattern::new(LARGE), &mut stream)?;
        }
    }
    Ok(())
}

fn respond(mut stream: &TcpStream, length: u64) -> Result<()> {
    Ok(write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?)
}

/// What a host is answered by a server: status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Status and body, such as `200 10.20.1.10`.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

/// Asks a server, `10.20.1.10:80`, one thing, such as `GET /`; each header ends with CR and LF.
pub fn ask(host: &Namespace, server: &str, request: &str, headers: &str) -> Result<Answer> {
    let mut stream = host.connect(ANY, server)?;
    let head = format!("{request} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    stream.write_all(format!("{head}{headers}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    Ok(Answer {
        status: head.split(' ').nth(1).context("no status")?.parse()?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_equals_itself_and_nothing_else() {
        let mut bytes = Vec::new();
        Pattern::new(200_001)
            .read_to_end(&mut bytes)
            .expect("the pattern");
        assert_eq!(bytes.len(), 200_001);
        compare(&mut bytes.as_slice(), 200_001).expect("itself");
        bytes[123_456] ^= 1;
        let error = compare(&mut bytes.as_slice(), 200_001).expect_err("one bit");
        assert_eq!(error.to_string(), "byte 123456 differs");
        compare(&mut &bytes[..100], 200_001).expect_err("too short");
    }
}
