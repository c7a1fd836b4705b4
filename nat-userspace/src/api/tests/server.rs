//! The real server at a socket of its own, in front of a dataplane that only remembers.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::{sync::mpsc, sync::oneshot};

use crate::{
    api::Listener,
    config::{Config, objects::Source, tests::SAMPLE},
    desired::{Dataplane, Desired, store::Store},
    error::{Error, Result},
    foresight::Effects,
};

/// What the dataplane was told, and what it is to answer next.
#[derive(Default)]
struct Memory {
    enforced: Option<Config>,
    error: Option<Error>,
}

struct Remembering(Arc<Mutex<Memory>>);

impl Dataplane for Remembering {
    fn enforce(&mut self, config: &Config) -> Result<()> {
        let mut memory = self.0.lock().expect("no panic");
        match memory.error.take() {
            Some(error) => Err(error),
            None => {
                memory.enforced = Some(config.clone());
                Ok(())
            }
        }
    }

    fn foresee(&mut self, _: &Config) -> Result<Effects> {
        match self.0.lock().expect("no panic").error.take() {
            Some(error) => Err(error),
            None => Ok(Effects {
                keeps: 3,
                ..Effects::default()
            }),
        }
    }

    fn generation(&self) -> Result<u64> {
        Ok(7)
    }
}

pub struct Server {
    folder: TempDir,
    memory: Arc<Mutex<Memory>>,
    running: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Server {
    pub fn new() -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().expect("a folder"),
            memory: Arc::default(),
            running: None,
        };
        server.start(Some(SAMPLE));
        server
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("nat.sock")
    }

    /// A controller's loop, without a dataplane.
    pub fn start(&mut self, file: Option<&str>) {
        let source = file.map(|text| Source {
            name: "file.toml".to_owned(),
            text: text.to_owned(),
        });
        let store = self.folder.path().join("state.redb");
        let memory = Arc::clone(&self.memory);
        let listener = Listener::bind(&self.socket()).expect("a socket");
        let (stop, mut stopped) = oneshot::channel();
        let work = async move || {
            let store = Store::open(&store).expect("a store");
            let mut desired = Desired::open(store, source).expect("valid");
            desired.confirm().expect("written");
            let mut dataplane = Remembering(memory);
            let (orders, mut received) = mpsc::channel(1);
            let _serving = listener.serve(orders).expect("serving");
            loop {
                tokio::select! {
                    Some(order) = received.recv() => desired.obey(order, &mut dataplane),
                    _ = &mut stopped => return,
                }
            }
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(work());
        });
        self.running = Some((stop, thread));
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.send(()).expect("it runs");
            thread.join().expect("no panic");
        }
    }

    pub fn fail_once(&self, error: Error) {
        self.memory.lock().expect("no panic").error = Some(error);
    }

    pub fn enforced(&self) -> Option<Config> {
        self.memory.lock().expect("no panic").enforced.clone()
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let (status, _, json) = self.ask_with(method, path, &[], body.as_bytes());
        (status, json)
    }

    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> (u16, String, Json) {
        let mut stream = UnixStream::connect(self.socket()).expect("connected");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        stream
            .write_all(format!("{head}\r\n").as_bytes())
            .expect("sent");
        // One that is too long is not read to its end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        (
            status,
            head.to_owned(),
            serde_json::from_str(body).expect("JSON"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stop, _)) = self.running.take() {
            let _ = stop.send(());
        }
    }
}
