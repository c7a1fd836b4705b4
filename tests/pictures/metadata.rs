//! Instance metadata, versions 1 and 2: two VPCs with the same addresses, each instance told about itself.
use anyhow::Result;

use super::{Picture, Stage};
use crate::netns::{
    Hook, Namespace, Site,
    configuration::{Configuration, put},
    http::{self, Answer},
    links::{mac_of, mac_text},
};

pub const PICTURE: Picture = Picture {
    name: "metadata",
    title: "instances of two VPCs with the same addresses, each told about itself, with tokens and without",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &[],
    run,
};

const DIAGRAM: &str = "
            internet 198.51.100.80, 198.51.100.81
                           |
                           | uplink 198.51.100.1
 +-------------------------+-------------------------+
 |                       edge                        |    +---------------------------+
 |  who asks: interface, address and session say it  +----+ 169.254.169.254           |
 |                                                   |    | GET /latest/meta-data/... |
 +---------+-------------------------------+---------+    | PUT /latest/api/token     |
           | router 10.20.1.1              | router 10.20.1.1  +---------------------------+
 VPC one   | 10.20.0.0/16        VPC two   | 10.20.0.0/16
 +---------+---------+           +---------+---------+
 |        web        |           |        web        |
 |    10.20.1.10     |           |    10.20.1.10     |
 |   both versions   |           |  version 2 only   |
 +-------------------+           +-------------------+
     198.51.100.21                   198.51.100.22
";

const SERVICE: &str = "169.254.169.254:80";
const WEB: &str = "10.20.1.10";

fn vpc(configuration: Configuration, number: usize, keys: &str) -> Configuration {
    let mac = mac_text(mac_of([10, 20, 1, 10].into()));
    let (public_ip, device) = (format!("198.51.100.2{number}"), format!("web{number}"));
    configuration
        .subnet("public", "10.20.1.0/24", &device, "zone = \"a\"\nroute_table = \"public\"")
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .security_group("closed", "egress = []")
        .instance(
            "web",
            "public",
            WEB,
            &format!("public_ip = \"{public_ip}\"\nmac = \"{mac}\"\nsecurity_groups = [\"closed\"]\n{keys}"),
        )
}

fn configuration(hook: Hook) -> Configuration {
    let one = Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .with_node("region = \"here-1\"")
        .but("name = \"main\"", "name = \"one\"");
    let one = vpc(one, 1, "type = \"small\"");
    let two = one.vpc("two", &["10.20.0.0/16"]);
    vpc(two, 2, "metadata = \"required\"")
}

fn get(host: &Namespace, path: &str, headers: &str) -> Result<Answer> {
    http::ask(host, SERVICE, &format!("GET {path}"), headers)
}

fn token_of(host: &Namespace) -> Result<Answer> {
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
    http::ask(host, SERVICE, "PUT /latest/api/token", ttl)
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::build(stage.hook, &["web1", "web2"])?;
    let one = site.host("web-one", "web1", "10.20.1.10/24")?;
    let two = site.host("web-two", "web2", "10.20.1.10/24")?;
    let file = put(&site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&site.edge, "the edge"), &["run", "--config", file])?;
    let report = &mut *stage.report;
    report.same(
        "the machine's groups let it do nothing: a connection",
        "none",
        {
            let server = site.internet.listen("198.51.100.80:8080")?;
            drop(one.connect("0.0.0.0:0", "198.51.100.80:8080"));
            crate::netns::sockets::has_connection(&server)
                .map(|came| if came { "one" } else { "none" })
        },
    );
    for (path, value) in [
        ("local-ipv4", WEB),
        ("public-ipv4", "198.51.100.21"),
        ("instance-type", "small"),
        ("placement/region", "here-1"),
        ("placement/availability-zone", "a"),
        ("security-groups", "closed"),
    ] {
        let path = format!("/latest/meta-data/{path}");
        let what = format!("version 1: web of VPC one asks for {path}");
        report.same(&what, &format!("200 {value}"), get(&one, &path, ""));
    }
    let public = "/latest/meta-data/public-ipv4";
    let what = "web of VPC two, which takes version 2 only, asks without a token";
    report.same(
        what,
        "401",
        get(&two, public, "").map(|answer| answer.status),
    );
    let (of_one, of_two) = (token_of(&one), token_of(&two));
    let mut by = |host: &Namespace, token: &Result<Answer>, what: &str, expected: &str| {
        let token = token
            .as_ref()
            .map(|token| token.body.clone())
            .unwrap_or_default();
        let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
        let answer = get(host, public, &header).map(|answer| match answer.status {
            200 => answer.body,
            status => status.to_string(),
        });
        report.same(what, expected, answer);
    };
    by(
        &two,
        &of_two,
        "version 2: web of VPC two asks with its token",
        "198.51.100.22",
    );
    by(
        &one,
        &of_one,
        "version 2: web of VPC one asks with its token",
        "198.51.100.21",
    );
    by(
        &two,
        &of_one,
        "web of VPC two asks with the token of VPC one's",
        "401",
    );
    let forwarded = http::ask(
        &one,
        SERVICE,
        "PUT /latest/api/token",
        "X-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: 192.0.2.1\r\n",
    );
    let what = "a token asked for through a proxy";
    report.same(what, "403", forwarded.map(|answer| answer.status));
    stage.show(
        &[&site.edge, &one, &two, &site.internet],
        &[(
            &edge,
            &[
                "sessions",
                "metadata show web --vpc one",
                "metadata show web --vpc two",
            ],
        )],
    )?;
    stage.end(edge);
    Ok(())
}
