//! Metadata by a socket, as instances ask for it.

mod paths;
mod robustness;
mod server;

use std::time::Duration;

use server::{
    DARK, NOBODY, NOT_LISTED, NOT_TO_BE_TOLD, OTHER_WEB, PLAIN, Server, WEB, config, is_closed,
    receive, send,
};
use tokio::time::timeout;

use super::Limits;

const TOKEN: &str = "/latest/api/token";
const ID: &str = "/latest/meta-data/instance-id";

#[tokio::test]
async fn version_1_is_a_plain_get() {
    let server = Server::new().await;
    let answer = server.get(PLAIN, "/latest/meta-data/local-ipv4").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "10.40.2.12"));
    assert_eq!(answer.header("content-type").as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn version_2_is_a_token_and_then_a_get() {
    let server = Server::new().await;
    for from in [WEB, PLAIN] {
        let token = server.token(from, 21_600).await;
        assert_eq!(server.get_with(from, ID, &token).await.status, 200);
    }
}

#[tokio::test]
async fn a_put_without_a_right_ttl_is_400() {
    let server = Server::new().await;
    let ttl = |value: &str| format!("X-aws-ec2-metadata-token-ttl-seconds: {value}");
    let two = [ttl("60"), ttl("60")];
    let status = async |headers: &[&str]| server.ask(WEB, "PUT", TOKEN, headers).await.status;
    assert_eq!(status(&[]).await, 400);
    for wrong in [
        "0",
        "21601",
        "-1",
        "+60",
        "60.0",
        "x",
        "",
        "99999999999999999999",
    ] {
        assert_eq!(status(&[&ttl(wrong)]).await, 400, "{wrong:?}");
    }
    assert_eq!(status(&[&two[0], &two[1]]).await, 400);
    for right in ["1", "21600", "060"] {
        assert_eq!(status(&[&ttl(right)]).await, 200, "{right:?}");
    }
}

#[tokio::test]
async fn without_a_token_where_one_is_required_it_is_401_whatever_the_path() {
    let server = Server::new().await;
    for path in [ID, "/", "/latest/no-such-path"] {
        assert_eq!(server.get(WEB, path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_401_also_where_none_is_required() {
    let server = Server::new().await;
    let token = server.token(PLAIN, 60).await;
    assert_eq!(server.get_with(PLAIN, ID, &token).await.status, 200);
    for wrong in ["", "x", &token[1..], &token.to_uppercase()] {
        let answer = server.get_with(PLAIN, ID, wrong).await;
        assert_eq!(answer.status, 401, "{wrong:?}");
    }
    let header = format!("X-aws-ec2-metadata-token: {token}");
    let answer = server.ask(PLAIN, "GET", ID, &[&header, &header]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn an_expired_token_is_401() {
    let server = Server::new().await;
    let token = server.token(WEB, 60).await;
    server.later(Duration::from_millis(59_999));
    assert_eq!(server.get_with(WEB, ID, &token).await.status, 200);
    server.later(Duration::from_millis(1));
    let answer = server.get_with(WEB, ID, &token).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("expired"), "{}", answer.body);
}

#[tokio::test]
async fn another_instances_token_is_401() {
    let server = Server::new().await;
    let token = server.token(WEB, 60).await;
    assert_eq!(server.get_with(WEB, ID, &token).await.status, 200);
    // The second has the same address, in another VPC.
    for other in [PLAIN, OTHER_WEB] {
        assert_eq!(server.get_with(other, ID, &token).await.status, 401);
    }
}

#[tokio::test]
async fn a_token_holds_across_a_restart_with_the_same_key_only() {
    let limits = Limits::default();
    let token = Server::with(limits, 1).await.token(WEB, 60).await;
    let again = Server::with(limits, 1).await;
    assert_eq!(again.get_with(WEB, ID, &token).await.status, 200);
    let other = Server::with(limits, 2).await;
    assert_eq!(other.get_with(WEB, ID, &token).await.status, 401);
}

#[tokio::test]
async fn a_disabled_instance_gets_403_for_everything() {
    let server = Server::new().await;
    for path in [ID, "/", "/nowhere"] {
        assert_eq!(server.get(DARK, path).await.status, 403, "{path}");
    }
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    assert_eq!(server.ask(DARK, "PUT", TOKEN, &[ttl]).await.status, 403);
}

#[tokio::test]
async fn a_put_that_was_forwarded_is_403() {
    let server = Server::new().await;
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let forwarded = "x-Forwarded-For: 192.0.2.1";
    let answer = server.ask(WEB, "PUT", TOKEN, &[ttl, forwarded]).await;
    assert_eq!(answer.status, 403);
    // Reading is not forbidden: a token that the client has is its own.
    assert_eq!(server.ask(PLAIN, "GET", ID, &[forwarded]).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_are_404_and_user_data_is_one() {
    let server = Server::new().await;
    for path in [
        "/latest/user-data",
        "/latest/meta-data/public-ipv4",
        "/latest/meta-data//instance-id",
        "/latest/meta-data/instance-id//",
        "/1999-01-01/meta-data/",
        "/latest/meta-data/../meta-data",
        "/latest/api",
    ] {
        assert_eq!(server.get(PLAIN, path).await.status, 404, "{path}");
    }
}

/// As botocore asks for the availability zone.
#[tokio::test]
async fn a_value_is_told_with_a_slash_behind_it() {
    let server = Server::new().await;
    let (plain, slash) = (
        server.get(PLAIN, ID).await,
        server.get(PLAIN, &format!("{ID}/")).await,
    );
    assert_eq!((slash.status, slash.body), (plain.status, plain.body));
}

#[tokio::test]
async fn other_methods_are_405_with_those_that_are_allowed() {
    let server = Server::new().await;
    for (method, path, allowed) in [
        ("POST", ID, "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("PUT", ID, "GET, HEAD"),
        ("OPTIONS", ID, "GET, HEAD"),
        ("GET", TOKEN, "PUT"),
        ("POST", TOKEN, "PUT"),
    ] {
        let answer = server.ask(PLAIN, method, path, &[]).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow").as_deref(), Some(allowed));
    }
}

#[tokio::test]
async fn whoever_is_no_listed_instance_gets_404_for_everything() {
    let server = Server::new().await;
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    for from in [NOBODY, NOT_LISTED] {
        for path in ["/", ID] {
            assert_eq!(server.get(from, path).await.status, 404, "{path}");
        }
        assert_eq!(server.ask(from, "PUT", TOKEN, &[ttl]).await.status, 404);
        assert_eq!(server.ask(from, "POST", ID, &[]).await.status, 404);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_can_tell_whose_it_is_is_closed_and_others_go_on() {
    let server = Server::new().await;
    assert!(is_closed(&mut server.connect(NOT_TO_BE_TOLD).await).await);
    assert_eq!(server.get(PLAIN, ID).await.status, 200);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::new().await;
    let get = server.get(PLAIN, ID).await;
    let head = server.ask(PLAIN, "HEAD", ID, &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(get.body.len().to_string())
    );
    assert_eq!(server.ask(PLAIN, "HEAD", "/nowhere", &[]).await.status, 404);
    assert_eq!(server.ask(WEB, "HEAD", ID, &[]).await.status, 401);
}

#[tokio::test]
async fn a_changed_catalogue_is_seen_at_once_by_connections_that_are_open() {
    let server = Server::new().await;
    let token = server.token(WEB, 60).await;
    let header = format!("X-aws-ec2-metadata-token: {token}");
    let mut stream = server.connect(WEB).await;
    let mut get = async |path: &str| {
        send(&mut stream, "GET", path, &[&header]).await;
        receive(&mut stream).await.expect("an answer")
    };
    let path = "/latest/meta-data/public-ipv4";
    assert_eq!(get(path).await.body, "198.51.100.20");
    server.show(&config(&[("198.51.100.20", "198.51.100.21")]));
    assert_eq!(get(path).await.body, "198.51.100.21");
    server.show(&config(&[("  public_ip = \"198.51.100.20\"\n", "")]));
    assert_eq!(get(path).await.status, 404);
    server.show(&config(&[("\"required\"", "\"disabled\"")]));
    assert_eq!(get(path).await.status, 403);
    // Another machine has the address now: not even the token is its.
    server.show(&config(&[("i-0123456789abcdef0", "i-0123456789abcdef1")]));
    assert_eq!(get(path).await.status, 401);
    server.show(&config(&[(
        "\"10.20.1.10\"\n  public_ip",
        "\"10.20.1.12\"\n  public_ip",
    )]));
    assert_eq!(get(path).await.status, 404);
}

/// Answers with a token arrive with a TTL of the hop limit and one for the router, which is not there in
/// this test: 2 of `plain`, 3 of `web`.
#[tokio::test]
async fn answers_with_a_token_go_as_far_as_the_hop_limit() {
    let server = Server::new().await;
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    for (from, hops) in [(PLAIN, 1), (WEB, 2)] {
        let mut near = server.connect_from_afar(from, hops + 1).await;
        send(&mut near, "PUT", TOKEN, &[ttl]).await;
        assert_eq!(receive(&mut near).await.expect("an answer").status, 200);
        let mut far = server.connect_from_afar(from, hops + 2).await;
        send(&mut far, "PUT", TOKEN, &[ttl]).await;
        let wait = Duration::from_millis(700);
        assert!(timeout(wait, receive(&mut far)).await.is_err());
        // Nor is the lost answer sent again with the next one, however that is asked for.
        send(&mut far, "GET", "/", &[]).await;
        assert!(timeout(wait, receive(&mut far)).await.is_err());
    }
}

#[tokio::test]
async fn answers_without_a_token_go_64_hops() {
    let server = Server::new().await;
    // 65 when they are sent; the handshake has it, too.
    let mut near = server.connect_from_afar(PLAIN, 65).await;
    send(&mut near, "GET", ID, &[]).await;
    assert_eq!(receive(&mut near).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn an_instance_may_ask_many_times_by_one_connection_and_not_too_often() {
    let limits = Limits {
        burst: 5,
        requests_per_second: 1,
        ..Limits::default()
    };
    let server = Server::with(limits, 1).await;
    let mut stream = server.connect(PLAIN).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        send(&mut stream, "GET", ID, &[]).await;
        statuses.push(receive(&mut stream).await.expect("an answer").status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 503]);
    let answer = server.get(PLAIN, ID).await;
    assert_eq!(
        (answer.status, answer.header("retry-after").as_deref()),
        (503, Some("1"))
    );
    assert_eq!(server.get(WEB, ID).await.status, 401);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(server.get(PLAIN, ID).await.status, 200);
}

#[tokio::test]
async fn it_ends_with_the_sender_of_the_catalogue() {
    let mut server = Server::new().await;
    let mut stream = server.connect(PLAIN).await;
    send(&mut stream, "GET", ID, &[]).await;
    assert_eq!(receive(&mut stream).await.expect("an answer").status, 200);
    drop(server.catalogue.take());
    let ended = timeout(Duration::from_secs(5), &mut server.task).await;
    ended.expect("in time").expect("no panic").expect("well");
    assert!(is_closed(&mut stream).await);
}
