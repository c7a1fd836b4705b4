//! What the tests start from: the program, and the classic picture with a controller running in it.
use std::path::{Path, PathBuf};

use nat_tests::netns::{
    Controller, Hook, Nat, Picture,
    configuration::{classic, put},
};

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

/// The classic picture with its controller ready.
pub struct Standing {
    // Fields are dropped in this order: the controller ends before its node goes.
    pub controller: Option<Controller>,
    pub nat: Nat,
    pub lab: Picture,
    configuration: &'static str,
}

impl Standing {
    pub fn new(hook: Hook) -> Self {
        Self::with_gateway_keys(hook, "")
    }

    pub fn with_gateway_keys(hook: Hook, keys: &str) -> Self {
        let lab = Picture::build(hook).expect("a lab");
        let nat = Nat::new(&program(), &lab.edge).expect("the program");
        let configuration = put(&lab.edge, &classic(hook, keys)).expect("a configuration file");
        let mut standing = Self {
            controller: None,
            nat,
            lab,
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
