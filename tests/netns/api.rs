//! The controller's API, asked over its socket by one connection that stays open.
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use anyhow::{Context as _, Result, ensure};

use super::{EXCHANGE, Namespace};

const SOCKET: &str = "/run/nat/nat.sock";

/// See the module.
#[derive(Debug)]
pub struct Api(BufReader<UnixStream>);

impl Api {
    pub fn connect(edge: &Namespace) -> Result<Self> {
        let stream = edge.run(|| UnixStream::connect(SOCKET).context(SOCKET))?;
        stream.set_read_timeout(Some(EXCHANGE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Posts a body, and fails with what is said when it is refused.
    pub fn post(&mut self, path: &str, body: &str) -> Result<String> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: nat\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        self.0.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(status.starts_with("HTTP/1.1 2"), "{status}{answer}");
        Ok(answer)
    }
}
