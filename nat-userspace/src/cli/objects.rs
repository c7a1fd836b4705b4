//! `nat get`, `nat put` and `nat delete`: single objects of the running controller.

use std::{
    io::{self, BufWriter, Read as _, Write as _},
    path::Path,
};

use clap::Args;
use serde_json::Value as Json;

use super::{Failure, Outcome, client, output};
use crate::config::objects::ObjectKey;

/// See `nat get --help`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// VPC/KIND/NAME for one object, VPC/KIND for all of a kind; left out: every object
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// See `nat put --help`.
#[derive(Debug, Args)]
pub struct PutArguments {
    /// VPC/KIND/NAME; a VPC itself is NAME/vpc/NAME
    #[arg(value_name = "OBJECT", value_parser = object)]
    object: ObjectKey,
    /// Its keys as a JSON object, without the name; - reads standard input
    #[arg(value_name = "JSON")]
    spec: String,
}

/// See `nat delete --help`.
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// VPC/KIND/NAME
    #[arg(value_name = "OBJECT", value_parser = object)]
    object: ObjectKey,
}

fn object(text: &str) -> Result<ObjectKey, String> {
    text.parse()
        .map_err(|()| "write VPC/KIND/NAME, for example main/instance/web".to_owned())
}

fn path(key: &ObjectKey) -> String {
    format!("/v1/vpcs/{key}")
}

/// Shows objects.
pub fn get(socket: &Path, arguments: &GetArguments) -> Outcome {
    let answer = match &arguments.object {
        None => client::ask(socket, "GET", "/v1/objects", b"")?,
        Some(object) => {
            let object = client::encoded(object);
            client::ask(socket, "GET", &format!("/v1/vpcs/{object}"), b"")?
        }
    };
    let objects = answer["objects"].as_array();
    let objects = objects.map_or(std::slice::from_ref(&answer), Vec::as_slice);
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        for object in objects {
            output::json(&mut out, object)?;
        }
    } else {
        let heading = ["OBJECT", "OWNER", "SPEC", "BLACKHOLES"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(objects.iter().map(row));
        output::table(&mut out, &rows)?;
    }
    Ok(out.flush()?)
}

fn row(object: &Json) -> Vec<String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let owner = match object["where"].as_str() {
        Some(place) => place.to_owned(),
        None => text("owner").to_owned(),
    };
    let blackholes = object["blackholes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let blackholes: Vec<_> = blackholes.iter().filter_map(Json::as_str).collect();
    vec![
        format!("{}/{}/{}", text("vpc"), text("kind"), text("name")),
        owner,
        object["spec"].to_string(),
        blackholes.join(" "),
    ]
}

/// Makes or replaces an object.
pub fn put(socket: &Path, arguments: &PutArguments) -> Outcome {
    let spec = if arguments.spec == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::BadInput(format!("standard input: {error}")))?;
        text
    } else {
        arguments.spec.clone()
    };
    let answer = client::ask(socket, "PUT", &path(&arguments.object), spec.as_bytes())?;
    output::json(&mut io::stdout(), &answer)?;
    Ok(())
}

/// Deletes an object.
pub fn delete(socket: &Path, arguments: &DeleteArguments) -> Outcome {
    let answer = client::ask(socket, "DELETE", &path(&arguments.object), b"")?;
    output::json(&mut io::stdout(), &answer)?;
    Ok(())
}
