//! What one instance sees: paths and values, without a socket.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::json;

use super::Described;
use crate::placement::Placement;

/// Every version serves the same. Those before `latest` are asked for by name by cloud-init and by the
/// agents of AWS.
const VERSIONS: [&str; 7] = [
    "2009-04-04",
    "2016-09-02",
    "2018-09-24",
    "2020-10-27",
    "2021-03-23",
    "2021-07-15",
    "latest",
];
/// Of the identity document.
const DOCUMENT_VERSION: &str = "2017-09-30";

/// The values by their paths below a version.
#[derive(Debug)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Of this instance.
    pub fn of(described: &Described<'_>) -> Self {
        let Described {
            region,
            vpc,
            instance,
        } = *described;
        let placement = Placement::of(vpc, instance);
        let id = instance.id(&vpc.name);
        let mut values = BTreeMap::new();
        let mut put = |path: &str, value: Option<String>| {
            if let Some(value) = value {
                values.insert(path.to_owned(), value);
            }
        };
        let text = |text: Option<&str>| text.map(str::to_owned);
        let groups = &instance.security_groups;
        let groups = (!groups.is_empty()).then(|| groups.join("\n"));
        let private = Some(instance.private_ip.to_string());
        let public = instance.public_ip.map(|address| address.to_string());
        put("meta-data/ami-id", instance.metadata.image.clone());
        put("meta-data/hostname", Some(instance.hostname()));
        put("meta-data/local-hostname", Some(instance.hostname()));
        put("meta-data/instance-id", Some(id.clone()));
        let instance_type = text(Some(instance.instance_type()));
        put("meta-data/instance-type", instance_type);
        put("meta-data/local-ipv4", private.clone());
        put("meta-data/public-ipv4", public.clone());
        put("meta-data/security-groups", groups.clone());
        put("meta-data/placement/region", text(Some(region)));
        let zone = text(placement.zone);
        put("meta-data/placement/availability-zone", zone);
        put("meta-data/placement/group-name", text(placement.group));
        let partition = placement.partition.map(|number| number.to_string());
        put("meta-data/placement/partition-number", partition);
        put("meta-data/placement/host-id", text(placement.host));
        if let Some(mac) = instance.mac {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            put("meta-data/mac", Some(mac.clone()));
            let mut put = |key: &str, value| {
                put(
                    &format!("meta-data/network/interfaces/macs/{mac}/{key}"),
                    value,
                );
            };
            let mut subnets = vpc.subnets.iter();
            let subnet = subnets.find(|subnet| subnet.name == instance.subnet);
            let blocks: Vec<_> = vpc.cidrs.iter().map(ToString::to_string).collect();
            put("device-number", Some("0".to_owned()));
            put("local-ipv4s", private);
            put("mac", Some(mac.clone()));
            put("public-ipv4s", public);
            put("security-groups", groups);
            put("subnet-id", Some(instance.subnet.clone()));
            let block = subnet.map(|subnet| subnet.cidr.to_string());
            put("subnet-ipv4-cidr-block", block);
            put("vpc-id", Some(vpc.name.clone()));
            put("vpc-ipv4-cidr-block", blocks.first().cloned());
            put("vpc-ipv4-cidr-blocks", Some(blocks.join("\n")));
        }
        if instance.metadata.serves_tags {
            for (key, value) in &instance.metadata.tags {
                put(
                    &format!("meta-data/tags/instance/{key}"),
                    Some(value.clone()),
                );
            }
        }
        let document = document(described, &placement, &id);
        put("dynamic/instance-identity/document", Some(document));
        Self(values)
    }

    /// Every value with its path, such as `meta-data/instance-id`, in the order of the paths.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.0.iter();
        values.map(|(path, value)| (path.as_str(), value.as_str()))
    }

    /// What is at the path of a request: a value as it is, or a listing, of which each line ends with a
    /// line feed, and those of directories with a slash before it. A slash at the end of the path changes
    /// nothing: AWS's SDKs ask for a value with one.
    pub fn find(&self, path: &str) -> Option<Cow<'_, str>> {
        let path = path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(lines(VERSIONS).into());
        }
        let mut segments: Vec<_> = path.split('/').map(decoded).collect::<Option<_>>()?;
        segments.pop_if(|last| last.is_empty());
        let (version, below) = segments.split_first()?;
        if !VERSIONS.contains(&version.as_ref()) || below.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let path = below.join("/");
        match self.0.get(&path) {
            Some(value) => Some(value.into()),
            None => self.listing(&path).map(Cow::from),
        }
    }

    fn listing(&self, path: &str) -> Option<String> {
        // EC2 marks no directories at the top.
        let is_top = path.is_empty();
        let prefix = if is_top {
            String::new()
        } else {
            format!("{path}/")
        };
        let below = self.0.range(prefix.clone()..);
        let mut names: Vec<_> = below
            .map_while(|(path, _)| path.strip_prefix(&prefix))
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) if is_top => name.to_owned(),
                Some((name, _)) => format!("{name}/"),
                None => rest.to_owned(),
            })
            .collect();
        names.dedup();
        (!names.is_empty()).then(|| lines(&names))
    }
}

fn lines(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    let names = names.into_iter();
    names.fold(String::new(), |text, name| text + name.as_ref() + "\n")
}

/// A segment of a path, with what is escaped in it (RFC 3986 2.1). `None`: it can't be a name.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else {
            return None;
        };
        rest = behind;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = digit(*high)? << 4 | digit(*low)?;
        bytes.push(u8::try_from(byte).ok()?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('/')).then_some(text.into())
}

/// As EC2 has it; what does not exist here is null.
fn document(described: &Described<'_>, placement: &Placement<'_>, id: &str) -> String {
    let instance = described.instance;
    let document = json!({
        "accountId": null,
        "architecture": architecture(),
        "availabilityZone": placement.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "imageId": instance.metadata.image,
        "instanceId": id,
        "instanceType": instance.instance_type(),
        "kernelId": null,
        "marketplaceProductCodes": null,
        "pendingTime": null,
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": described.region,
        "version": DOCUMENT_VERSION,
    });
    format!("{document:#}")
}

/// The node's, by its name at AWS.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
