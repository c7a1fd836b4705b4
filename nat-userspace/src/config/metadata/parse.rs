//! The keys of an instance that are about its metadata: TOML to draft.

use super::draft::MetadataDraft;
use super::types::{ID_DIGITS, ID_PREFIX, MAX_HOP_LIMIT, MAX_TAGS, MetadataAccess};
use crate::config::dns::host_name;
use crate::config::place::{List, Place, Report};
use crate::config::reader::{Complaint, Field, Section, field};
use crate::config::suggest::quoted;
use crate::config::toml::Value;
use crate::config::values::{boolean, check_name, choice, integer, owned_text, text};

const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// What an instance says about its metadata; most say nothing, and there may be many.
pub fn of_instance(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
) -> Option<Box<MetadataDraft>> {
    const ACCESS: Field = field("metadata", "a string", "metadata = \"required\"");
    const HOP_LIMIT: Field = field("metadata_hop_limit", "an integer", "metadata_hop_limit = 1");
    const SERVES_TAGS: Field = field("metadata_tags", "true or false", "metadata_tags = true");
    const ID: Field = field("id", "a string", "id = \"i-0123456789abcdef0\"");
    const TYPE: Field = field("type", "a string", "type = \"t3.micro\"");
    const IMAGE: Field = field("image", "a string", "image = \"ami-0123456789abcdef0\"");
    const HOSTNAME: Field = field("hostname", "a string", "hostname = \"web.example.net\"");
    const TAGS: Field = field("tags", "a table", "tags = { Name = \"web\" }");

    let draft = MetadataDraft {
        access: section.optional(report, &ACCESS, |value| {
            let choices = MetadataAccess::ALL.map(|access| (access.name(), access));
            choice(value, "a way to serve metadata", &choices)
        }),
        hop_limit: section.optional(report, &HOP_LIMIT, integer(1..=MAX_HOP_LIMIT)),
        serves_tags: section.optional(report, &SERVES_TAGS, boolean),
        id: section.optional(report, &ID, instance_id),
        instance_type: section.optional(report, &TYPE, owned_text),
        image: section.optional(report, &IMAGE, owned_text),
        hostname: section.optional(report, &HOSTNAME, host_name),
        tags: section.texts(report, &TAGS),
    };
    check_name(draft.instance_type.given(), report);
    check_name(draft.image.given(), report);
    let are_served = draft.serves_tags.value() == Some(&true);
    check_tags(&draft.tags, are_served, report);
    draft.is_given().then(|| Box::new(draft))
}

fn instance_id(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    let is_digit = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
    let digits = text.strip_prefix(ID_PREFIX);
    if digits.is_some_and(|digits| digits.len() == ID_DIGITS && digits.chars().all(is_digit)) {
        return Ok(text.to_owned());
    }
    Err(Complaint::invalid(
        format!("{} is not an instance id", quoted(text)),
        format!(
            "write {ID_PREFIX} and {ID_DIGITS} of the characters 0-9 a-f, as in \"i-0123456789abcdef0\", \
             or leave it out"
        ),
    ))
}

fn check_tags(tags: &List<(String, String)>, are_served: bool, report: &mut Report<'_>) {
    if let Some(more) = tags.items.get(MAX_TAGS) {
        report.error(
            &more.place,
            format!("too many tags: {}", tags.items.len()),
            format!("keep at most {MAX_TAGS}"),
        );
    }
    for tag in &tags.items {
        let (key, value) = &tag.value;
        check_key(key, &tag.place, are_served, report);
        if value.chars().count() > MAX_TAG_VALUE || value.chars().any(char::is_control) {
            report.error(
                &tag.place,
                format!("{} can be no tag's value", quoted(value)),
                format!("use up to {MAX_TAG_VALUE} characters, none of them a control character"),
            );
        }
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>: the limits of tags, and those
/// of tags that are read as metadata.
fn check_key(key: &str, place: &Place, are_served: bool, report: &mut Report<'_>) {
    const RESERVED: &str = "aws:";
    const NO_KEYS: [&str; 3] = [".", "..", "_index"];
    let prefix = key.get(..RESERVED.len());
    let in_path = |c: char| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c);
    if !(1..=MAX_TAG_KEY).contains(&key.chars().count()) || key.chars().any(char::is_control) {
        report.error(
            place,
            format!("{} can be no tag's key", quoted(key)),
            format!("use 1 to {MAX_TAG_KEY} characters, none of them a control character"),
        );
    } else if prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED)) {
        report.error(
            place,
            format!("keys of tags do not begin with {}", quoted(RESERVED)),
            "give it another key",
        );
    } else if are_served && (!key.chars().all(in_path) || NO_KEYS.contains(&key)) {
        report.error(
            place,
            format!("{} can be no key of a tag that metadata serves", quoted(key)),
            format!(
                "use letters, digits and + - = . , _ : @, and none of {}; or set metadata_tags = false",
                NO_KEYS.join(" ")
            ),
        );
    }
}
