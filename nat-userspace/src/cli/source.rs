//! Where commands that need no dataplane take the configuration from.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Json;

use super::{Failure, client};
use crate::config::{
    self, Vpc,
    objects::{self, Kind, ObjectKey, Objects},
};

#[derive(Debug, Args)]
pub struct Source {
    /// Look at this file instead of asking the running controller
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

impl Source {
    /// The VPCs of the file, or of the controller.
    pub fn vpcs(&self, socket: &Path) -> Result<Vec<Vpc>, Failure> {
        match &self.config {
            Some(file) => Ok(config::load(file)?.vpcs),
            None => asked(socket),
        }
    }

    /// The same with the region of the node.
    pub fn region_and_vpcs(&self, socket: &Path) -> Result<(String, Vec<Vpc>), Failure> {
        if let Some(file) = &self.config {
            let config = config::load(file)?;
            return Ok((config.node.region, config.vpcs));
        }
        let status = client::ask(socket, "GET", "/v1/status", b"")?;
        let region = status["region"].as_str().ok_or_else(foreign)?;
        Ok((region.to_owned(), asked(socket)?))
    }
}

fn asked(socket: &Path) -> Result<Vec<Vpc>, Failure> {
    let answer = client::ask(socket, "GET", "/v1/objects", b"")?;
    objects_of(&answer)
        .and_then(|objects| objects::vpcs(&objects).ok())
        .ok_or_else(foreign)
}

fn foreign() -> Failure {
    Failure::Failed(
        "the controller lists objects that this version can't read; ask with its own `nat`"
            .to_owned(),
    )
}

fn objects_of(answer: &Json) -> Option<Objects> {
    let objects = answer["objects"].as_array()?.iter();
    let read = objects.map(|object| {
        let kind: Kind = object["kind"].as_str()?.parse().ok()?;
        let key = ObjectKey::new(object["vpc"].as_str()?, kind, object["name"].as_str()?);
        Some((key, object["spec"].to_string()))
    });
    read.collect()
}
