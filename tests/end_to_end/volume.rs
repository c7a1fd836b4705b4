//! Much traffic: one large file both ways, and many short connections one after the other.
use std::{
    io::{self, Read, Seek, Write},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nat_tests::netns::{
    Hook, Namespace,
    http::{LARGE, Pattern, compare, serve},
    process::{finish, finish_with},
    sockets::{ANY, accept, connect},
};

use crate::standing::Standing;

/// For 100 MB, on a busy machine.
const TRANSFER: Duration = Duration::from_secs(240);

pub fn a_large_file_arrives_identical(hook: Hook) {
    let mut standing = Standing::new(hook);
    let lab = &standing.lab;
    serve(lab.internet.listen("198.51.100.80:8080").expect("a server")).expect("a server");
    if Command::new("curl").arg("--version").output().is_ok() {
        download_by_curl(&lab.private_a);
        upload_by_curl(&lab.private_a);
    } else {
        println!("no curl here: plain TCP instead");
        download_by_tcp(&lab.private_a);
        upload_by_tcp(&lab.private_a);
    }
    standing.assert_running();
}

fn curl(client: &Namespace) -> Command {
    let mut command = client.command("curl");
    command.args(["-q", "--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command
}

fn download_by_curl(client: &Namespace) {
    let mut command = curl(client);
    command.arg("http://198.51.100.80:8080/large");
    let finished = finish(&mut command, TRANSFER).expect("curl ends");
    assert_eq!(finished.code, Some(0), "curl: {}", finished.stderr);
    assert_eq!(finished.stdout.len() as u64, LARGE);
    compare(&mut finished.stdout.as_slice(), LARGE).expect("identical after the download");
}

fn upload_by_curl(client: &Namespace) {
    let mut file = tempfile::tempfile().expect("a file");
    io::copy(&mut Pattern::new(LARGE), &mut file).expect("writing it");
    file.rewind().expect("its beginning");
    let mut command = curl(client);
    command.args([
        "--request",
        "PUT",
        "--data-binary",
        "@-",
        "http://198.51.100.80:8080/large",
    ]);
    let finished = finish_with(&mut command, file.into(), TRANSFER).expect("curl ends");
    assert_eq!(
        finished.success().expect("curl succeeds"),
        format!("identical {LARGE}")
    );
}

fn download_by_tcp(client: &Namespace) {
    let mut stream = client
        .connect(ANY, "198.51.100.80:8080")
        .expect("a connection");
    stream
        .write_all(b"GET /large HTTP/1.1\r\n\r\n")
        .expect("asking");
    skip_header(&mut stream);
    compare(&mut stream, LARGE).expect("identical after the download");
}

fn upload_by_tcp(client: &Namespace) {
    let mut stream = client
        .connect(ANY, "198.51.100.80:8080")
        .expect("a connection");
    write!(
        stream,
        "PUT /large HTTP/1.1\r\nContent-Length: {LARGE}\r\n\r\n"
    )
    .expect("asking");
    io::copy(&mut Pattern::new(LARGE), &mut stream).expect("sending");
    skip_header(&mut stream);
    let mut verdict = String::new();
    stream.read_to_string(&mut verdict).expect("a verdict");
    assert_eq!(verdict, format!("identical {LARGE}"));
}

fn skip_header(stream: &mut impl Read) {
    let mut header = Vec::new();
    let mut byte = [0];
    while !header.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a header");
        header.push(byte[0]);
    }
}

pub fn ten_thousand_short_connections_none_fails(hook: Hook) {
    const COUNT: u32 = 10_000;
    let mut standing = Standing::new(hook);
    let lab = &standing.lab;
    let listener = lab.internet.listen("198.51.100.80:8080").expect("a server");
    let server = thread::spawn(move || -> anyhow::Result<()> {
        for _ in 0..COUNT {
            let (mut stream, _) = accept(&listener)?;
            let mut question = [0; 4];
            stream.read_exact(&mut question)?;
            stream.write_all(&question)?;
        }
        Ok(())
    });
    let start = Instant::now();
    let slowest = lab.private_a.run(|| {
        let (from, to) = (ANY.parse()?, "198.51.100.80:8080".parse()?);
        let mut slowest = Duration::ZERO;
        for number in 0..COUNT {
            let start = Instant::now();
            short_connection(from, to, number)
                .map_err(|error| error.context(format!("connection {number}")))?;
            slowest = slowest.max(start.elapsed());
        }
        Ok(slowest)
    });
    let slowest = slowest.expect("no connection fails");
    server
        .join()
        .expect("the server")
        .expect("no connection fails at the server");
    println!(
        "{COUNT} connections in {:?}, the slowest in {slowest:?}",
        start.elapsed()
    );
    standing.assert_running();
}

fn short_connection(
    from: std::net::SocketAddrV4,
    to: std::net::SocketAddrV4,
    number: u32,
) -> anyhow::Result<()> {
    let mut stream = connect(from, to, nat_tests::netns::EXCHANGE)?;
    stream.write_all(&number.to_le_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(answer == number.to_le_bytes(), "another answer: {answer:?}");
    Ok(())
}
