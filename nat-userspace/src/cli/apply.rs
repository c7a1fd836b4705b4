//! `nat apply` and `nat diff`: the running controller is asked to take up a file, or what that would
//! change.

use std::{
    io::{self, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value as Json;

use super::{Failure, Outcome, client, output};
use crate::config;

/// See `nat apply --help` and `nat diff --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object per change
    #[arg(long)]
    json: bool,
}

/// Has the controller go on with the file.
pub fn apply(socket: &Path, arguments: &Arguments) -> Outcome {
    let answer = send(socket, "/v1/apply", arguments)?;
    let mut out = BufWriter::new(io::stdout().lock());
    changes(&mut out, &answer, arguments.json)?;
    Ok(out.flush()?)
}

/// Shows what that would change; fails when `nat apply` would.
pub fn diff(socket: &Path, arguments: &Arguments) -> Outcome {
    let answer = send(socket, "/v1/diff", arguments)?;
    let mut out = BufWriter::new(io::stdout().lock());
    changes(&mut out, &answer, arguments.json)?;
    sessions(&mut out, &answer, arguments.json)?;
    out.flush()?;
    if list(&answer["refused"]).is_empty() {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

fn send(socket: &Path, path: &str, arguments: &Arguments) -> Result<Json, Failure> {
    let (name, text) = if arguments.file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin()
            .take(config::MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| Failure::BadInput(format!("standard input: {error}")))?;
        ("standard input".to_owned(), text)
    } else {
        let name = arguments.file.display().to_string();
        (name, config::read(&arguments.file)?)
    };
    let path = format!("{path}?name={}", client::encoded(&name));
    client::ask(socket, "POST", &path, text.as_bytes())
}

fn changes(out: &mut impl Write, answer: &Json, json: bool) -> io::Result<()> {
    let changes = list(&answer["changes"]);
    for change in changes {
        if json {
            output::json(out, change)?;
            continue;
        }
        let sign = match change["what"].as_str() {
            Some("added") => "+",
            Some("removed") => "-",
            _ => "~",
        };
        writeln!(out, "{sign} {}", text(&change["object"]))?;
        for field in list(&change["fields"]) {
            let name = text(&field["field"]);
            match (&field["before"], &field["after"]) {
                (Json::Null, after) => writeln!(out, "    + {name} = {}", toml(after))?,
                (before, Json::Null) => writeln!(out, "    - {name} = {}", toml(before))?,
                (before, after) => {
                    writeln!(out, "    ~ {name} = {} -> {}", toml(before), toml(after))?;
                }
            }
        }
    }
    if changes.is_empty() && !json {
        writeln!(out, "no changes")?;
    }
    Ok(())
}

fn sessions(out: &mut impl Write, answer: &Json, json: bool) -> io::Result<()> {
    let refused = list(&answer["refused"]);
    let sessions = &answer["sessions"];
    if json {
        let summary = serde_json::json!({
            "refused": answer["refused"],
            "sessions_keep": sessions["keeps"],
            "sessions_end": sessions["ends"],
        });
        output::json(out, &summary)?;
        for session in list(&sessions["ending"]) {
            output::json(out, session)?;
        }
        return Ok(());
    }
    for reason in refused {
        writeln!(
            out,
            "it would be refused: {}; {}",
            text(&reason["what"]),
            text(&reason["remedy"])
        )?;
    }
    if !refused.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "sessions: {} go on, {} end",
        sessions["keeps"], sessions["ends"]
    )?;
    for session in list(&sessions["ending"]) {
        writeln!(
            out,
            "  {} {} {}:{} -> {}:{} as {}:{}: {}",
            text(&session["protocol"]),
            text(&session["vpc"]),
            text(&session["source"]),
            session["source_port"],
            text(&session["destination"]),
            session["destination_port"],
            text(&session["translated"]),
            session["translated_port"],
            text(&session["reason"]),
        )?;
    }
    let listed = list(&sessions["ending"]).len() as u64;
    let more = sessions["ends"]
        .as_u64()
        .unwrap_or(0)
        .saturating_sub(listed);
    if more > 0 {
        writeln!(out, "  and {more} more")?;
    }
    Ok(())
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

/// As it is written in a file.
fn toml(json: &Json) -> String {
    match json {
        Json::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(toml).collect();
            format!("[{}]", elements.join(", "))
        }
        Json::Object(object) => {
            let entries: Vec<_> = object
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(answer: &Json) -> String {
        let mut out = Vec::new();
        changes(&mut out, answer, false).expect("written");
        sessions(&mut out, answer, false).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_difference_reads_as_one() {
        let answer = json!({
            "changes": [
                {"object": "main/instance/web", "what": "changed", "fields": [
                    {"field": "private_ip", "before": "10.0.0.1", "after": "10.0.0.2"}]},
                {"object": "main/route_table/private", "what": "changed", "fields": [
                    {"field": "routes", "before": {"destination": "0.0.0.0/0", "target": "blackhole"}, "after": null}]},
            ],
            "refused": null,
            "sessions": {"keeps": 7, "ends": 2, "ending": [{
                "protocol": "tcp", "vpc": "main", "source": "10.0.0.1", "source_port": 1,
                "destination": "192.0.2.1", "destination_port": 2, "translated": "198.51.100.1",
                "translated_port": 3, "reason": "its NAT gateway is gone",
            }]},
        });
        assert_eq!(
            said(&answer),
            "~ main/instance/web\n    ~ private_ip = \"10.0.0.1\" -> \"10.0.0.2\"\n\
             ~ main/route_table/private\n    \
             - routes = { destination = \"0.0.0.0/0\", target = \"blackhole\" }\n\
             sessions: 7 go on, 2 end\n  \
             tcp main 10.0.0.1:1 -> 192.0.2.1:2 as 198.51.100.1:3: its NAT gateway is gone\n  \
             and 1 more\n"
        );
    }

    #[test]
    fn what_would_be_refused_says_why() {
        let answer = json!({"changes": [], "sessions": {}, "refused": [
            {"what": "its interfaces are others", "where": "", "remedy": "start anew"}]});
        assert_eq!(
            said(&answer),
            "no changes\nit would be refused: its interfaces are others; start anew\n"
        );
    }
}
