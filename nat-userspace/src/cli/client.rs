//! Asks the running controller by its socket, as docs/api.md describes it.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value as Json;

use super::Failure;

/// Asks, and waits for the answer.
///
/// # Errors
///
/// Nobody answers there, or the controller refuses: what is wrong with the input is bad input.
pub fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> Result<Json, Failure> {
    let (status, answer) =
        exchange(socket, method, path, body).map_err(|error| no_answer(socket, &error))?;
    let answer: Json = serde_json::from_slice(&answer).map_err(|error| {
        Failure::Failed(format!(
            "{} gave no answer of a controller: {error}",
            socket.display()
        ))
    })?;
    match status {
        200..300 => Ok(answer),
        400 | 413 | 422 => Err(Failure::BadInput(reasons(&answer))),
        _ => Err(Failure::Failed(reasons(&answer))),
    }
}

fn no_answer(socket: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as root",
        _ => "start one with `nat run --config FILE`, or name its socket with --socket",
    };
    Failure::Failed(format!(
        "no controller answers at {}: {error}; {remedy}",
        socket.display()
    ))
}

/// HTTP/1.0: the answer comes in one piece and ends with the connection.
fn exchange(socket: &Path, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: nat\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // One that refuses a long body may close before it has read it; its answer says why.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let broken = || io::Error::other("the answer broke off");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end else {
        return Err(sent.and(read.map(drop)).err().unwrap_or_else(broken));
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_off(end + 4);
    Ok((status.ok_or_else(broken)?, body))
}

fn reasons(answer: &Json) -> String {
    let reason = |error: &Json| {
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let (place, what, remedy) = (text("where"), text("what"), text("remedy"));
        if place.is_empty() {
            format!("{what}; {remedy}")
        } else {
            format!("{place}: {what}; {remedy}")
        }
    };
    let reasons = answer["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    reasons.iter().map(reason).collect::<Vec<_>>().join("\n")
}

/// A value in the query of a path.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_said_as_those_of_a_file() {
        let answer = serde_json::json!({"errors": [
            {"what": "a", "where": "f:1", "remedy": "b"},
            {"what": "c", "where": "", "remedy": "d"},
        ]});
        assert_eq!(reasons(&answer), "f:1: a; b\nc; d");
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("/etc/a b&c=ü"), "/etc/a%20b%26c%3D%C3%BC");
    }
}
