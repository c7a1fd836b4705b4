//! Debian packages of the programs that tests, labs, bench and VM take beside what is built here.
//! Services that come with some of them are not started: install.sh.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::{privilege::Privilege, tool};

/// A program, or a file by its whole path, and the Debian package that has it.
#[derive(Clone, Copy)]
pub struct Package {
    program: &'static str,
    name: &'static str,
    why: &'static str,
    /// What Debian would start with it.
    service: Option<&'static str>,
}

impl Package {
    pub const fn new(program: &'static str, name: &'static str, why: &'static str) -> Self {
        Self {
            program,
            name,
            why,
            service: None,
        }
    }

    /// A daemon: the machine is not to have it running.
    const fn without_its_service(self, service: &'static str) -> Self {
        Self {
            service: Some(service),
            ..self
        }
    }
}

pub const NFTABLES: Package = Package::new(
    "nft",
    "nftables",
    "the kernel's own NAT, which guests use and the bench compares with",
);

/// What labs run: the tests all of it, a picture what it says.
pub const LAB_PACKAGES: [Package; 6] = [
    NFTABLES,
    Package::new("curl", "curl", "the client of the labs"),
    Package::new("dig", "bind9-dnsutils", "their client of resolvers"),
    Package::new(
        "/usr/lib/python3/dist-packages/botocore/__init__.py",
        "python3-botocore",
        "AWS's SDK, their client of metadata",
    ),
    Package::new("nginx", "nginx-light", "their web server").without_its_service("nginx"),
    Package::new("squid", "squid", "their proxy").without_its_service("squid"),
];

/// Installs those of the labs' packages that have these programs, where they are missing.
pub fn ensure_programs(purpose: &str, programs: &[&str]) -> Result<()> {
    let package = |program: &&str| {
        let mut packages = LAB_PACKAGES.into_iter();
        packages
            .find(|package| package.program == *program)
            .with_context(|| format!("no package is known for the program {program}"))
    };
    let packages: Vec<_> = programs.iter().map(package).collect::<Result<_>>()?;
    ensure(purpose, &packages)
}

/// Installs those whose program is missing.
pub fn ensure(purpose: &str, wanted: &[Package]) -> Result<()> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|package| tool::find(package.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if tool::find("apt-get").is_none() {
        let programs: Vec<_> = missing
            .iter()
            .map(|package| format!("{} ({})", package.program, package.why))
            .collect();
        bail!(
            "{purpose} needs {}; install with your package manager",
            programs.join(" and ")
        );
    }
    for Package { name, why, .. } in &missing {
        eprintln!("setup: installing the package {name} ({why})");
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let services: Vec<_> = missing.iter().filter_map(|each| each.service).collect();
    let privilege = Privilege::acquire(&format!("`apt-get install {}`", names.join(" ")))?;
    let mut install = privilege.command("sh");
    install
        .args(["-c", INSTALL, "install.sh", POLICY])
        .arg(services.join(" "))
        .args(&names);
    if tool::capture(&mut install).is_ok() {
        return Ok(());
    }
    // The usual reason on a fresh machine: no package lists, or old ones.
    update_lists(privilege)?;
    tool::capture(&mut install).with_context(|| {
        format!(
            "the packages {} could not be installed; do it by hand",
            names.join(", ")
        )
    })?;
    Ok(())
}

const INSTALL: &str = include_str!("install.sh");
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// `apt-get update`.
pub fn update_lists(privilege: Privilege) -> Result<()> {
    eprintln!("setup: apt-get update");
    let mut update = privilege.command("env");
    // A third party's list that fails leaves the distribution's usable, so go on and let what follows decide.
    let status = update
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "update"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    status.context("cannot start apt-get")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        os::unix::fs::PermissionsExt as _,
        path::PathBuf,
        process::{Command, Output},
    };

    use super::*;

    /// A folder for a policy, and one of programs that say how they were called.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str, apt_get: &str) -> Self {
            let folder = format!("xtask-install-{}-{name}", std::process::id());
            let machine = Self(env::temp_dir().join(folder));
            fs::create_dir_all(machine.0.join("bin")).expect("a folder");
            machine.put("bin/apt-get", apt_get);
            machine.put("bin/systemctl", "echo systemctl \"$@\"");
            machine
        }

        fn put(&self, name: &str, script: &str) {
            let path = self.0.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a script");
        }

        fn policy(&self) -> PathBuf {
            self.0.join("policy-rc.d")
        }

        fn install(&self) -> Output {
            let own = self.0.join("bin");
            let path = env::var_os("PATH").unwrap_or_default();
            let path = [own].into_iter().chain(env::split_paths(&path));
            Command::new("sh")
                .args(["-c", INSTALL, "install.sh"])
                .arg(self.policy())
                .args(["nginx squid", "nginx-light", "squid"])
                .env("PATH", env::join_paths(path).expect("a path"))
                .env("POLICY", self.policy())
                .output()
                .expect("sh")
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Says what the policy says meanwhile.
    const ASKS: &str = "\"$POLICY\" nginx start; echo policy $?; echo apt-get \"$@\"";

    #[test]
    fn services_are_neither_started_nor_enabled() {
        let machine = Machine::new("plain", ASKS);
        let said = machine.install();
        let expected = "policy 101\n\
            apt-get -q install --yes --no-install-recommends nginx-light squid\n\
            systemctl --quiet disable nginx\nsystemctl --quiet disable squid\n";
        assert_eq!(String::from_utf8_lossy(&said.stdout), expected);
        assert!(said.status.success() && !machine.policy().exists());
    }

    #[test]
    fn the_policy_goes_when_the_installation_fails_or_is_ended() {
        for (name, apt_get) in [("fails", "exit 100"), ("ended", "kill $PPID; sleep 1")] {
            let machine = Machine::new(name, apt_get);
            assert!(!machine.install().status.success());
            assert!(!machine.policy().exists(), "{name}");
        }
    }

    #[test]
    fn a_policy_that_is_there_stays() {
        let machine = Machine::new("there", ASKS);
        machine.put("policy-rc.d", "exit 101");
        assert!(machine.install().status.success());
        assert!(machine.policy().exists());
        // One that would let them start is not replaced: nothing is installed.
        machine.put("policy-rc.d", "exit 0");
        let said = machine.install();
        assert!(!said.status.success() && said.stdout.is_empty());
        assert!(String::from_utf8_lossy(&said.stderr).contains("lets nginx be started"));
        let policy = fs::read_to_string(machine.policy()).expect("the policy");
        assert_eq!(policy, "#!/bin/sh\nexit 0\n");
    }

    #[test]
    fn a_policy_that_was_left_behind_is_replaced() {
        let machine = Machine::new("left", ASKS);
        let mark = INSTALL.lines().find_map(|line| line.strip_prefix("mark="));
        let mark = mark.expect("the mark").trim_matches('\'');
        machine.put("policy-rc.d", &format!("{mark}\nexit 101"));
        assert!(machine.install().status.success());
        assert!(!machine.policy().exists());
    }
}
