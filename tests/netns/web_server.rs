//! The machine's own nginx on a node: it tells each visitor whom it sees, and keeps a log of them.
use anyhow::Result;

use super::{
    Namespace,
    daemon::{CONFIGURATION, Daemon, FOLDER, Start},
};

/// In its folder.
const LOG: &str = "access.log";

/// A running nginx, which is killed when this is dropped: its connections are reset then.
#[derive(Debug)]
pub struct WebServer(Daemon);

impl WebServer {
    /// Starts it at all addresses of `node`, on port 80. Whatever it is asked, it answers `LABEL saw ADDRESS`.
    pub fn start(node: &Namespace) -> Result<Self> {
        let start = Start {
            program: "nginx",
            // Without -e it opens the log that it was built with before it reads what it is to do.
            arguments: &["-e", "stderr", "-p", FOLDER, "-c", CONFIGURATION],
            configuration: &configuration(node.label()),
            port: 80,
            user: None,
        };
        Ok(Self(Daemon::start(node, &start)?))
    }

    /// Everybody who asked, each as `ADDRESS HOST PATH STATUS`; `nothing` where nobody did.
    pub fn log(&self) -> Result<String> {
        self.0.lines(LOG)
    }

    /// The log's last line about this path, which may still be to come.
    pub fn logged(&self, path: &str) -> Result<String> {
        self.0.line(LOG, &[path])
    }
}

/// A single process, which does not outlive its end.
fn configuration(label: &str) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {FOLDER}/{name};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
user root;
pid {FOLDER}/pid;
events {{ worker_connections 512; }}
http {{
{folders}  log_format visitors '$remote_addr $host $request_uri $status';
  access_log {FOLDER}/{LOG} visitors;
  server {{
    listen 0.0.0.0:80;
    default_type text/plain;
    location / {{ return 200 '{label} saw $remote_addr'; }}
  }}
}}
"
    )
}
