//! What the tests start from: the program, and a lab, the classic picture mostly, with a controller running in it.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nat_tests::netns::{
    Controller, Hook, Namespace, Nat, Picture,
    configuration::{Configuration, classic, put},
};

use crate::attempts::wait_until;

/// The program under test: NAT_BIN, or the one that cargo put beside the tests.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NAT_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    // target/debug/deps/end_to_end-… and its neighbours target/debug/nat and target/release/nat.
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("a folder like target/debug");
    let target = profile.parent().unwrap_or(profile);
    let places = [
        profile.join("nat"),
        target.join("release/nat"),
        target.join("debug/nat"),
    ];
    places.iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| {
        panic!(
            "no program `nat` at {}, {} or {}: run `cargo xtask test`, which builds it, or name one in NAT_BIN",
            places[0].display(),
            places[1].display(),
            places[2].display()
        )
    })
}

/// Gateway keys of the profile that keeps to the RFCs, with its default filtering.
pub const RFC: &str = "profile = \"rfc\"";

/// The classic configuration with these public IPs for its NAT gateway.
pub fn classic_with_ips(hook: Hook, public_ips: &[&str], keys: &str) -> Configuration {
    classic(hook, keys).but(
        "public_ips = [\"198.51.100.10\"]",
        &format!("public_ips = {public_ips:?}"),
    )
}

/// A lab with its controller ready.
pub struct Standing<L = Picture> {
    // Fields are dropped in this order: the controller ends before its node goes.
    pub controller: Option<Controller>,
    pub nat: Nat,
    pub lab: L,
    edge: Namespace,
    configuration: &'static str,
}

/// What a controller says when it has taken up its configuration anew.
pub const READ: &str = "the configuration was read again";

impl Standing {
    pub fn new(hook: Hook) -> Self {
        Self::with_gateway_keys(hook, "")
    }

    /// With further lines in the NAT gateway's table.
    pub fn with_gateway_keys(hook: Hook, keys: &str) -> Self {
        Self::with_configuration(hook, &classic(hook, keys))
    }

    pub fn with_configuration(hook: Hook, configuration: &str) -> Self {
        Self::in_lab(Picture::build(hook).expect("a lab"), configuration)
    }

    pub fn in_lab(lab: Picture, configuration: &str) -> Self {
        Self::on(lab.edge.clone(), lab, configuration)
    }
}

impl<L> Standing<L> {
    /// With a controller on the node `edge` of the lab.
    pub fn on(edge: Namespace, lab: L, configuration: &str) -> Self {
        let nat = Nat::new(&program(), &edge).expect("the program");
        let configuration = put(&edge, configuration).expect("a configuration file");
        let mut standing = Self {
            controller: None,
            nat,
            lab,
            edge,
            configuration,
        };
        standing.start(&[]);
        standing
    }

    /// Starts a controller on the same configuration, with more options.
    pub fn start(&mut self, options: &[&str]) {
        assert!(
            self.controller.is_none(),
            "the last controller is still there"
        );
        let mut arguments = vec!["run", "--config", self.configuration];
        arguments.extend(options);
        self.controller = Some(self.nat.start(arguments).expect("a controller"));
    }

    /// Starts a controller that goes on with what the store holds.
    pub fn start_without_file(&mut self) {
        let arguments = ["run", "--store", "/var/lib/nat/state.redb"];
        self.controller = Some(self.nat.start(arguments).expect("a controller"));
    }

    /// Replaces the configuration; the next controller reads it.
    pub fn configure(&self, configuration: &str) {
        put(&self.edge, configuration).expect("a configuration file");
    }

    /// Sends SIGHUP and waits until the controller has said this about it.
    pub fn hang_up(&self, expected: &str) {
        let controller = self.controller.as_ref().expect("a controller");
        let before = controller.said().matches(expected).count();
        controller.hang_up().expect("SIGHUP");
        let what = format!("{expected:?} from the controller");
        wait_until(&what, Duration::from_secs(20), || {
            controller.said().matches(expected).count() > before
        });
    }

    /// Has the running controller take up another configuration.
    pub fn reload(&self, configuration: &str) {
        self.configure(configuration);
        self.hang_up(READ);
    }

    pub fn kill_nine(&mut self) {
        self.controller
            .take()
            .expect("a controller")
            .kill_nine()
            .expect("kill -9");
    }

    pub fn terminate(&mut self) -> Option<i32> {
        self.controller
            .take()
            .expect("a controller")
            .terminate()
            .expect("SIGTERM")
    }

    /// What `nat status --json` says.
    pub fn status(&self) -> serde_json::Value {
        self.nat.object(&["status"]).expect("nat status")
    }

    /// What `nat status --json` counts under this drop reason.
    pub fn drops(&self, reason: &str) -> u64 {
        let status = self.status();
        status["drops"][reason].as_u64().unwrap_or(0)
    }

    pub fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        status["counters"][name].as_u64().expect("a counter")
    }

    /// Fails with the controller's own words when it has ended by itself.
    pub fn assert_running(&mut self) {
        let controller = self.controller.as_mut().expect("a controller");
        assert!(
            controller.is_running(),
            "the controller has ended; it said:\n{}",
            controller.said()
        );
    }
}
