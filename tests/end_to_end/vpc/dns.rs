//! The VPC's resolver: names of instances for their own VPC, and everything else by way of other servers.
use std::{net::UdpSocket, thread, time::Duration};

use nat_tests::netns::{Hook, Namespace, configuration::Configuration, process::finish};

use super::{A, Lab, WEB, metadata::locked, side_by_side, vpc};

/// The base of the VPC plus two, and the address that is the same in every VPC.
const SERVERS: [&str; 2] = ["10.20.0.2", "169.254.169.253"];

/// What the machine's own dig gets, with further options of its.
fn dig(host: &Namespace, server: &str, question: &str, options: &[&str]) -> String {
    let mut command = host.command("dig");
    let server = format!("@{server}");
    command.args([&server, "+time=3", "+tries=2"]);
    command.args(options).args(question.split(' '));
    let finished = finish(&mut command, Duration::from_secs(15)).expect("dig");
    String::from_utf8_lossy(&finished.stdout).trim().to_owned()
}

fn short(host: &Namespace, server: &str, question: &str) -> String {
    dig(host, server, question, &["+short"])
}

/// At both addresses, by UDP and TCP, and past groups and ACLs; names of others are none.
pub fn dns_answers_instances_about_their_own_vpc(hook: Hook) {
    let text = locked(hook).with_vpc("private_domain = \"lab.test\"");
    let standing = Lab::with(hook, &text);
    let web = &standing.lab.web;
    for server in SERVERS {
        for transport in ["+notcp", "+tcp"] {
            let a = dig(web, server, "a.lab.test", &["+short", transport]);
            assert_eq!(a, A, "{server} {transport}");
        }
        assert_eq!(short(web, server, "ip-10-20-1-10.internal"), WEB);
        assert_eq!(
            short(web, server, "-x 10.20.2.10"),
            "ip-10-20-2-10.internal."
        );
        let none = dig(web, server, "nobody.lab.test", &[]);
        assert!(none.contains("status: NXDOMAIN"), "{none}");
    }
    // Who is no listed instance is told nothing: in a strict VPC, and in others.
    let none = short(&standing.lab.b, SERVERS[1], "a.lab.test");
    assert!(
        none.contains("no servers could be reached") || none.contains("timed out"),
        "{none}"
    );
}

/// Two VPCs have the same addresses, and names that mean another instance in each.
pub fn dns_tells_vpcs_with_the_same_addresses_apart(hook: Hook) {
    let standing = side_by_side::stand(hook);
    for (number, vpc) in standing.lab.vpcs.iter().enumerate() {
        let others = 1 - number;
        for server in SERVERS {
            let only = format!("web.vpc-{number}.test");
            assert_eq!(short(&vpc.web, server, &only), WEB, "{server}");
            let foreign = dig(&vpc.web, server, &format!("web.vpc-{others}.test"), &[]);
            // It is for the servers of the host to say, of which there are none.
            assert!(!foreign.contains(WEB), "{foreign}");
        }
    }
}

/// A server of names in the internet that has one address for every name.
fn serve(socket: UdpSocket) {
    socket.set_read_timeout(None).expect("a timeout");
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let name = query[12..length].iter().position(|byte| *byte == 0);
            let question = &query[12..12 + name.expect("a name") + 5];
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend(question);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            if socket.send_to(&answer, from).is_err() {
                break;
            }
        }
    });
}

fn forwarding(hook: Hook) -> Configuration {
    vpc(hook).with_node("dns_forwarders = [\"198.51.100.80\"]")
}

/// Other names are asked of other servers by the host, whatever the instance reaches itself.
pub fn dns_of_others_is_forwarded(hook: Hook) {
    let text = forwarding(hook)
        .instance("a", "private", A, "")
        .routed("private", &[("0.0.0.0/0", "blackhole")]);
    let standing = Lab::with(hook, &text);
    serve(
        standing
            .lab
            .site
            .internet
            .udp("198.51.100.80:53")
            .expect("a server"),
    );
    for host in [&standing.lab.web, &standing.lab.a] {
        assert_eq!(short(host, SERVERS[0], "www.example.com"), "192.0.2.7");
        assert_eq!(short(host, SERVERS[0], "web.internal"), WEB);
    }
}

/// A VPC that gets its resolver by a reload has it at once, and no longer when it is taken away.
pub fn dns_comes_and_goes_with_a_reload(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook).with_vpc("dns = false"));
    let web = &standing.lab.web;
    assert!(!short(web, SERVERS[0], "web.internal").contains(WEB));
    standing.reload(&vpc(hook));
    assert_eq!(short(web, SERVERS[0], "web.internal"), WEB);
    standing.reload(&vpc(hook).with_vpc("dns = false"));
    assert!(!short(web, SERVERS[0], "web.internal").contains(WEB));
}
