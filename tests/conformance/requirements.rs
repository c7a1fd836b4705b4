//! The requirements that docs/conformance.md must speak about, by the name of their section.

/// Sections, as their headings name them up to the colon, with what each has a row for.
pub const ALL: &[(&str, &[&str])] = &[
    (
        "RFC 4787",
        &[
            "REQ-1", "REQ-2", "REQ-3", "REQ-3a", "REQ-4", "REQ-5", "REQ-5b", "REQ-6", "REQ-6a",
            "REQ-7", "REQ-8", "REQ-8a", "REQ-9", "REQ-9a", "REQ-10", "REQ-11", "REQ-12", "REQ-12a",
            "REQ-12b", "REQ-13", "REQ-13a", "REQ-14", "REQ-14a",
        ],
    ),
    (
        "RFC 5382",
        &[
            "REQ-1", "REQ-2", "REQ-2a", "REQ-3", "REQ-3b", "REQ-4", "REQ-5", "REQ-5a", "REQ-6",
            "REQ-7", "REQ-8", "REQ-8a", "REQ-9", "REQ-10",
        ],
    ),
    (
        "RFC 5508",
        &[
            "REQ-1", "REQ-1a", "REQ-2", "REQ-2a", "REQ-3", "REQ-3a", "REQ-3b", "REQ-3c", "REQ-3d",
            "REQ-4", "REQ-5", "REQ-5c", "REQ-6", "REQ-7", "REQ-7a", "REQ-8", "REQ-9", "REQ-10",
            "REQ-11",
        ],
    ),
    (
        "RFC 7857",
        &[
            "section 2",
            "section 2.1",
            "section 2.2",
            "section 3",
            "section 4",
            "section 5",
            "section 6",
            "section 7",
            "section 7.1",
            "section 8",
            "section 9",
            "section 10",
            "section 11",
            "section 12",
        ],
    ),
    (
        "RFC 6888",
        &[
            "REQ-1", "REQ-2", "REQ-3", "REQ-4", "REQ-5", "REQ-6", "REQ-7", "REQ-8", "REQ-9",
            "REQ-10", "REQ-11a", "REQ-11b", "REQ-11c", "REQ-11d", "REQ-12", "REQ-13", "REQ-14",
            "REQ-15",
        ],
    ),
    (
        "RFC 7422",
        &["mapping", "inverse", "blocks", "log", "overflow"],
    ),
    (
        "RFC 1071, 1624, 768, 8085, 3022",
        &[
            "incremental update",
            "no checksum",
            "computed zero",
            "wrong checksums",
            "1:1 ports",
            "private addresses",
            "unfinished checksums",
        ],
    ),
    ("RFC 5780, 8489", &["mapping", "filtering", "hairpin"]),
    ("RFC 6056", &["choice", "secret"]),
    (
        "RFC 6864",
        &["fragments", "whole datagrams", "same fragments"],
    ),
    ("RFC 4884", &["extensions", "length"]),
    ("RFC 791", &["pieces", "options", "fragments of fragments"]),
    (
        "RFC 792, 1122, 1812, 1191, 9293",
        &[
            "time exceeded",
            "quote",
            "no error about",
            "rate",
            "next-hop MTU",
            "reset",
        ],
    ),
    (
        "Beyond the RFCs",
        &[
            "last port",
            "exhaustion",
            "unknown TCP",
            "port reuse",
            "expiry",
            "two CPUs",
        ],
    ),
    (
        "RFC 6146, 6052, 7915, 6296",
        &["NAT64", "NPTv6", "egress-only IPv6"],
    ),
];
