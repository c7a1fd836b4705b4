//! The name servers of the host, by `resolv.conf(5)`. The file is read again when it has changed.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::config::MAX_DNS_FORWARDERS;

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// The servers in a file.
#[derive(Debug)]
pub struct HostServers {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    /// Of the file that was read.
    mark: Option<Mark>,
    servers: Vec<IpAddr>,
}

/// Another file, or another content, has another one.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl HostServers {
    /// Those in the file at `path`, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    /// Those that are in it at `now`, or were a second before. Without any it is this machine, as for the
    /// host itself.
    pub fn current(&self, now: Instant) -> Vec<IpAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |looked| now.saturating_duration_since(looked) < LOOK;
        if !known.looked.is_some_and(is_recent) {
            known.looked = Some(now);
            let mark = fs::metadata(&self.path).ok().map(|file| Mark {
                device: file.dev(),
                inode: file.ino(),
                bytes: file.len(),
                changed: (file.ctime(), file.ctime_nsec()),
            });
            if mark.is_none() || mark != known.mark {
                known.servers = servers(&fs::read_to_string(&self.path).unwrap_or_default());
                known.mark = mark;
            }
        }
        known.servers.clone()
    }
}

/// Addresses with a zone, as of a link, are left out.
fn servers(text: &str) -> Vec<IpAddr> {
    let found = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next() == Some("nameserver");
        words.next().filter(|_| is_server)?.parse().ok()
    });
    let mut servers: Vec<_> = found.take(MAX_DNS_FORWARDERS).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().expect("addresses")
    }

    #[test]
    fn name_servers_are_read_and_nothing_else() {
        let text = "# nameserver 192.0.2.1\nsearch nameserver 192.0.2.2\n  nameserver\t192.0.2.53  x\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver\nnameservers 192.0.2.3\n";
        assert_eq!(servers(text), addresses(&["192.0.2.53", "2001:db8::53"]));
        assert_eq!(servers("options edns0\n"), addresses(&["127.0.0.1"]));
        assert_eq!(
            servers(&"nameserver 192.0.2.1\n".repeat(20)).len(),
            MAX_DNS_FORWARDERS
        );
    }

    #[test]
    fn a_file_that_changes_is_read_again_within_a_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        let found = HostServers::new(path.clone());
        let start = Instant::now();
        let current = |seconds| found.current(start + Duration::from_secs(seconds));
        assert_eq!(current(0), addresses(&["127.0.0.1"]));
        fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        assert_eq!(current(0), addresses(&["127.0.0.1"]));
        assert_eq!(current(1), addresses(&["192.0.2.1"]));
        // As it is done by those who do it well.
        let other = folder.path().join("new");
        fs::write(&other, "nameserver 192.0.2.2\n").expect("written");
        fs::rename(&other, &path).expect("renamed");
        assert_eq!(current(2), addresses(&["192.0.2.2"]));
        fs::remove_file(&path).expect("removed");
        assert_eq!(current(3), addresses(&["127.0.0.1"]));
    }
}
