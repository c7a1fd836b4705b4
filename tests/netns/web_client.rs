//! The machine's own curl and dig on a node, whatever the user has set for them.
use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::{EXCHANGE, Namespace, process::finish};

/// Long enough for a SYN to be sent again.
const UNANSWERED: Duration = Duration::from_secs(3);

/// What [`no_answer`] says when there is none.
pub const NO_ANSWER: &str = "no answer";

/// Exit statuses of curl: no connection, and none in time.
const NO_CONNECTION: [i32; 2] = [7, 28];

/// Gets an URL: the status and the body, such as `200 store saw 10.20.2.11`.
pub fn get(host: &Namespace, url: &str) -> Result<String> {
    curl(host, url, &[], EXCHANGE)
}

/// The same by the proxy at this address and port.
pub fn get_by(host: &Namespace, proxy: &str, url: &str) -> Result<String> {
    curl(
        host,
        url,
        &["--proxy", &format!("http://{proxy}")],
        EXCHANGE,
    )
}

/// The same when it is to go nowhere: [`NO_ANSWER`].
pub fn no_answer(host: &Namespace, url: &str) -> Result<String> {
    curl(host, url, &[], UNANSWERED)
}

fn curl(host: &Namespace, url: &str, options: &[&str], limit: Duration) -> Result<String> {
    let mut command = host.command("curl");
    // First, so that no file of the user's is read.
    command.args(["--disable", "--silent", "--show-error"]);
    without_proxy(&mut command);
    command.args(["--write-out", " %{http_code}", "--max-time"]);
    command.arg(limit.as_secs().to_string());
    command.args(options).arg(url);
    let said = finish(&mut command, limit * 2)?;
    if said.code.is_some_and(|code| NO_CONNECTION.contains(&code)) {
        return Ok(NO_ANSWER.to_owned());
    }
    let text = said.success().context("curl")?;
    let (body, status) = text.rsplit_once(' ').context("no status")?;
    Ok(format!("{status} {}", body.trim()))
}

fn without_proxy(command: &mut Command) {
    for variable in [
        "http_proxy",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(variable);
    }
}

/// What the server at this address answers to a question, such as `www.example.com`, in short; `nothing` if it has
/// no such record.
pub fn dig(host: &Namespace, server: &str, question: &str) -> Result<String> {
    let mut command = host.command("dig");
    // No file of the user's is read.
    command.arg("-r").arg(format!("@{server}"));
    command.args(["+short", "+time=3", "+tries=2"]);
    command.args(question.split(' '));
    let said = finish(&mut command, EXCHANGE * 2)?;
    let text = said.success().context("dig")?;
    match text.trim() {
        "" => Ok("nothing".to_owned()),
        answer if answer.starts_with(";;") => bail!("dig: {answer}"),
        answer => Ok(answer.replace('\n', " ")),
    }
}
