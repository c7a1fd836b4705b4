//! `nat instances`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;

use super::{Outcome, output};
use crate::{
    instances::{self, InstanceRecord},
    pins::Pins,
};

/// See `nat instances --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

const HEADING: [&str; 8] = [
    "VPC",
    "PRIVATE IP",
    "PUBLIC IP",
    "SUBNET",
    "INTERFACE",
    "GROUPS",
    "MAC",
    "SOURCE/DEST CHECK",
];

/// Shows the listed instances as the dataplane holds them.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let instances = instances::read(pins)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        for instance in &instances {
            output::json(&mut out, instance)?;
        }
    } else {
        let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
        rows.extend(instances.iter().map(row));
        output::table(&mut out, &rows)?;
    }
    Ok(out.flush()?)
}

fn row(instance: &InstanceRecord) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let groups = instance.security_groups.join(",");
    vec![
        instance.vpc.clone(),
        instance.private_ip.to_string(),
        or_none(instance.public_ip.map(|public| public.to_string())),
        or_none(instance.subnet.clone()),
        instance.interface.clone(),
        or_none((!groups.is_empty()).then_some(groups)),
        or_none(instance.mac.clone()),
        if instance.source_dest_check {
            "on"
        } else {
            "off"
        }
        .to_owned(),
    ]
}
