//! Mistakes in what instances are told about themselves. Each is one edit of the sample that has it, with
//! everything a user is shown about it.

use super::{described, refuse_each, refused};
use crate::config::parse;

refuse_each! {
    of described;
    metadata_unknown_access: [r#"metadata = "required""# => r#"metadata = "v2""#] gives [
        r#"f:44: vpc "main" / instance "web" / metadata: "v2" is not a way to serve metadata; allowed: "optional", "required", "disabled""#,
    ];
    metadata_of_other_types: ["metadata = \"required\"" => "metadata = true", "metadata_tags = true" => "metadata_tags = \"yes\"", "metadata_hop_limit = 2" => "metadata_hop_limit = 0"] gives [
        r#"f:44: vpc "main" / instance "web" / metadata: expected a string, found a boolean; write metadata = "required""#,
        r#"f:45: vpc "main" / instance "web" / metadata_hop_limit: 0 is out of range; use 1 to 64"#,
        r#"f:46: vpc "main" / instance "web" / metadata_tags: expected true or false, found a string; write metadata_tags = true"#,
    ];
    metadata_too_many_hops: ["metadata_hop_limit = 2" => "metadata_hop_limit = 65"] gives [
        r#"f:45: vpc "main" / instance "web" / metadata_hop_limit: 65 is out of range; use 1 to 64"#,
    ];
    metadata_misspelt: ["metadata_hop_limit = 2" => "metadata_hop_limits = 2"] gives [
        r#"f:45: vpc "main" / instance "web" / metadata_hop_limits: unknown key; did you mean metadata_hop_limit? known keys here: name, subnet, private_ip, public_ip, security_groups, source_dest_check, mac, placement_group, partition, rack, host, running, metadata, metadata_hop_limit, metadata_tags, id, type, image, hostname, tags"#,
    ];
    metadata_ids_that_are_none: ["i-0123456789abcdef0" => "i-0123456789ABCDEF0"] gives [
        r#"f:47: vpc "main" / instance "web" / id: "i-0123456789ABCDEF0" is not an instance id; write i- and 17 of the characters 0-9 a-f, as in "i-0123456789abcdef0", or leave it out"#,
    ];
    metadata_short_id: ["i-0123456789abcdef0" => "i-01234567"] gives [
        r#"f:47: vpc "main" / instance "web" / id: "i-01234567" is not an instance id; write i- and 17 of the characters 0-9 a-f, as in "i-0123456789abcdef0", or leave it out"#,
    ];
    metadata_id_twice: ["metadata = \"disabled\"" => "id = \"i-0123456789abcdef0\""] gives [
        r#"f:58: vpc "main" / instance "dark" / id: instance id "i-0123456789abcdef0" is already on line 47; give each an id of its own"#,
    ];
    metadata_type_and_image_that_are_no_names: ["t3.micro" => "t3 micro", "ami-00000000000000abc" => ""] gives [
        r#"f:48: vpc "main" / instance "web" / type: "t3 micro" has characters a name cannot have; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
        r#"f:49: vpc "main" / instance "web" / image: the name is empty; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    metadata_host_name_with_an_empty_label: ["web.example.net" => "web..net"] gives [
        r#"f:50: vpc "main" / instance "web" / hostname: "web..net" is not a host name; use labels of 1 to 63 letters, digits and '-', with dots between them, 253 characters at most"#,
    ];
    metadata_host_name_with_a_line_feed: ["web.example.net" => r"web\nnet"] gives [
        r#"f:50: vpc "main" / instance "web" / hostname: "web\nnet" is not a host name; use labels of 1 to 63 letters, digits and '-', with dots between them, 253 characters at most"#,
    ];
    metadata_tags_that_are_no_table: [r#"{ Name = "web", "a:b" = "c d" }"# => r#"["web"]"#] gives [
        r#"f:51: vpc "main" / instance "web" / tags: expected a table, found an array; write tags = { Name = "web" }"#,
    ];
    metadata_tag_that_is_no_text: [r#"Name = "web""# => "Name = 1"] gives [
        r#"f:51: vpc "main" / instance "web" / tags / Name: expected a string, found an integer; write tags = { Name = "web" }"#,
    ];
    metadata_tag_that_cannot_stand_in_a_path: [r#""a:b""# => r#""a/b""#] gives [
        r#"f:51: vpc "main" / instance "web" / tags / "a/b": "a/b" can be no key of a tag that metadata serves; use letters, digits and + - = . , _ : @, and none of . .. _index; or set metadata_tags = false"#,
    ];
    metadata_tag_that_is_a_way_up: [r#""a:b""# => r#""..""#] gives [
        r#"f:51: vpc "main" / instance "web" / tags / "..": ".." can be no key of a tag that metadata serves; use letters, digits and + - = . , _ : @, and none of . .. _index; or set metadata_tags = false"#,
    ];
    metadata_tag_of_aws: [r#""not served""# => r#""AWS:x""#] gives [
        r#"f:60: vpc "main" / instance "dark" / tags / "AWS:x": keys of tags do not begin with "aws:"; give it another key"#,
    ];
    metadata_tag_without_a_key: [r#""not served""# => r#""""#] gives [
        r#"f:60: vpc "main" / instance "dark" / tags / "": "" can be no tag's key; use 1 to 128 characters, none of them a control character"#,
    ];
    metadata_tag_with_lines: [r#""c d""# => r#""c\nd""#] gives [
        r#"f:51: vpc "main" / instance "web" / tags / "a:b": "c\nd" can be no tag's value; use up to 256 characters, none of them a control character"#,
    ];
    metadata_region_that_is_no_name: ["name = \"edge-1\"" => "region = \"eu west\""] gives [
        r#"f:2: node / region: "eu west" has characters a name cannot have; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
}

/// The one without an id of its own is the one whose id cannot change.
#[test]
fn metadata_id_that_another_instance_has_by_its_name() {
    let config = parse("f", &described(&[])).expect("valid");
    let taken = config.vpcs[0].instances[1].id("main");
    assert_eq!(
        refused(&described(&[("i-0123456789abcdef0", &taken)])),
        [
            "f:47: vpc \"main\" / instance \"web\" / id: instance \"dark\" has this id already (line 54); choose \
             another one, or leave it out"
        ]
    );
}
