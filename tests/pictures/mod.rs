//! Well-known diagrams of a VPC, each a lab with the real controller and real traffic: a file here for each,
//! named as the picture is. `nat-lab` (lab_main.rs) shows them; the labs are made of what is in netns/.
mod endpoint_service;
mod gateway_endpoint;
mod interface_endpoint;
mod internet_gateway;
mod metadata;
mod nat_instance;
mod placement;
mod proxy;

use std::path::Path;

use anyhow::{Context, Result};

use crate::netns::{Hook, Namespace, Report, Running};

/// Every picture, in the order in which they are listed.
pub const PICTURES: &[Picture] = &[
    internet_gateway::PICTURE,
    nat_instance::PICTURE,
    gateway_endpoint::PICTURE,
    interface_endpoint::PICTURE,
    endpoint_service::PICTURE,
    proxy::PICTURE,
    metadata::PICTURE,
    placement::PICTURE,
];

/// A diagram, and the lab that shows that it holds.
pub struct Picture {
    /// Its file's name, with hyphens.
    pub name: &'static str,
    /// What it shows, in a line.
    pub title: &'static str,
    /// In ASCII, with the addresses of the lab's nodes. It begins with an empty line.
    pub diagram: &'static str,
    /// Whether its traffic is worth a run on each hook; one is enough otherwise.
    pub on_each_hook: bool,
    /// Programs of the machine that its lab takes beside `nat`. `cargo xtask run` installs their packages.
    pub programs: &'static [&'static str],
    /// Builds the lab, makes the checks, shows the tables and takes everything down again.
    pub run: fn(&mut Stage<'_>) -> Result<()>,
}

/// The picture of this name.
pub fn find(name: &str) -> Option<&'static Picture> {
    PICTURES.iter().find(|picture| picture.name == name)
}

/// Gets the nodes of a standing lab and what `nat` says in it; a held lab waits there.
pub type Show<'a> = dyn FnMut(&[&Namespace], &str) -> Result<()> + 'a;

/// What a picture is run with.
pub struct Stage<'a> {
    pub hook: Hook,
    pub report: &'a mut Report,
    program: &'a Path,
    show: &'a mut Show<'a>,
}

impl Picture {
    /// Runs it with this program `nat`. What goes wrong is in `report`, whatever it is.
    pub fn check<'a>(
        &self,
        program: &'a Path,
        hook: Hook,
        report: &'a mut Report,
        show: &'a mut Show<'a>,
    ) {
        let mut stage = Stage {
            hook,
            report,
            program,
            show,
        };
        if let Err(error) = (self.run)(&mut stage) {
            let check = "the picture is shown to its end";
            stage.report.same(check, "no error", Err::<&str, _>(error));
        }
    }
}

impl Stage<'_> {
    /// Starts a controller on a node, which checks call `place`, such as "the edge".
    pub fn start(
        &mut self,
        (node, place): (&Namespace, &str),
        arguments: &[&str],
    ) -> Result<Running> {
        Running::start(self.program, (node, place), arguments, self.report)?
            .with_context(|| format!("without a controller on {place} there is nothing to see"))
    }

    /// Shows what `nat` says to these commands, each where it is asked, and has the lab held if that is wanted.
    pub fn show(&mut self, nodes: &[&Namespace], asked: &[(&Running, &[&str])]) -> Result<()> {
        let mut text = String::new();
        for (running, commands) in asked {
            let label = running.node().label();
            for command in *commands {
                let said = running.nat.finish(command.split(' '));
                let said = said.map_or_else(|error| format!("{error:#}"), |said| said.words());
                text += &format!("\n{label}$ nat {command}\n{said}");
            }
        }
        if !self.report.all_held() {
            let words = asked.iter().map(|(running, _)| running.in_its_own_words());
            text.extend(words);
        }
        (self.show)(nodes, &text)
    }

    /// Ends a controller and its dataplane, of which nothing is left then.
    pub fn end(&mut self, mut running: Running) {
        running.terminate(self.report);
        running.take_down(self.report);
    }
}
