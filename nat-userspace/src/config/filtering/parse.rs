//! The keys of prefix lists, security groups and network ACLs: TOML to draft.

use super::draft::{
    AclRuleDraft, GroupRuleDraft, NetworkAclDraft, PacketsDraft, PrefixListDraft, Rules,
    SecurityGroupDraft,
};
use super::values;
use crate::config::gateways::ports;
use crate::config::parse::required_name;
use crate::config::place::Report;
use crate::config::reader::{Field, Section, field};
use crate::config::values::cidr;

const SOURCE: Field = field("source", "a string", "source = \"0.0.0.0/0\"");
const DESTINATION: Field = field("destination", "a string", "destination = \"0.0.0.0/0\"");

pub fn prefix_list(section: &mut Section<'_>, report: &mut Report<'_>) -> PrefixListDraft {
    const ENTRIES: Field = field(
        "entries",
        "an array of strings",
        "entries = [\"203.0.113.0/24\"]",
    );
    PrefixListDraft {
        name: required_name(section, report),
        entries: section.required_list(report, &ENTRIES, cidr),
    }
}

pub fn security_group(section: &mut Section<'_>, report: &mut Report<'_>) -> SecurityGroupDraft {
    const INGRESS: Field = field(
        "ingress",
        "an array of tables",
        "ingress = [{ protocol = \"tcp\", ports = \"80\", source = \"0.0.0.0/0\" }]",
    );
    const EGRESS: Field = field(
        "egress",
        "an array of tables",
        "egress = [{ protocol = \"all\", destination = \"0.0.0.0/0\" }]",
    );
    SecurityGroupDraft {
        name: required_name(section, report),
        ingress: rules(section, report, &INGRESS, |section, report| {
            group_rule(section, report, &SOURCE)
        }),
        egress: rules(section, report, &EGRESS, |section, report| {
            group_rule(section, report, &DESTINATION)
        }),
    }
}

pub fn network_acl(section: &mut Section<'_>, report: &mut Report<'_>) -> NetworkAclDraft {
    const INGRESS: Field = field(
        "ingress",
        "an array of tables",
        "ingress = [{ rule = 100, action = \"allow\", protocol = \"all\", source = \"0.0.0.0/0\" }]",
    );
    const EGRESS: Field = field(
        "egress",
        "an array of tables",
        "egress = [{ rule = 100, action = \"allow\", protocol = \"all\", destination = \"0.0.0.0/0\" }]",
    );
    NetworkAclDraft {
        name: required_name(section, report),
        ingress: rules(section, report, &INGRESS, |section, report| {
            acl_rule(section, report, &SOURCE)
        }),
        egress: rules(section, report, &EGRESS, |section, report| {
            acl_rule(section, report, &DESTINATION)
        }),
    }
}

fn rules<T>(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    field: &Field,
    read: impl Fn(&mut Section<'_>, &mut Report<'_>) -> T,
) -> Rules<T> {
    let given = section.has(field);
    let (sections, complete) = section.sections(report, field);
    Rules {
        given,
        rules: sections
            .into_iter()
            .map(|section| section.whole(report, &read))
            .collect(),
        complete,
    }
}

fn group_rule(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    remote: &Field,
) -> GroupRuleDraft {
    GroupRuleDraft {
        place: section.place.clone(),
        packets: packets(section, report),
        remote: section.required(report, remote, values::remote),
    }
}

fn acl_rule(section: &mut Section<'_>, report: &mut Report<'_>, remote: &Field) -> AclRuleDraft {
    const RULE: Field = field("rule", "an integer", "rule = 100");
    const ACTION: Field = field("action", "a string", "action = \"allow\"");

    AclRuleDraft {
        number: section.required(report, &RULE, values::rule_number),
        allow: section.required(report, &ACTION, values::action),
        packets: packets(section, report),
        remote: section.required(report, remote, values::acl_remote),
    }
}

fn packets(section: &mut Section<'_>, report: &mut Report<'_>) -> PacketsDraft {
    const PROTOCOL: Field = field("protocol", "a string or an integer", "protocol = \"tcp\"");
    const PORTS: Field = field("ports", "a string", "ports = \"80\"");
    const ICMP_TYPE: Field = field("icmp_type", "an integer", "icmp_type = 8");
    const ICMP_CODE: Field = field("icmp_code", "an integer", "icmp_code = 0");

    PacketsDraft {
        protocol: section.required(report, &PROTOCOL, values::protocol),
        ports: section.optional(report, &PORTS, ports),
        icmp_type: section.optional(report, &ICMP_TYPE, values::byte),
        icmp_code: section.optional(report, &ICMP_CODE, values::byte),
    }
}
