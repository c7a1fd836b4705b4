//! One check of one target.

use std::{convert::Infallible, error::Error, future, io, net::SocketAddrV4, time::Duration};

use axum::body::{Body, to_bytes};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::state::Thresholds;
use crate::balancer::Dial;

/// How large the head of an answer may be, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// How much of a body is read, and for how long, so that the target does not see a broken connection.
const BODY_BYTES: usize = 64 * 1024;
const BODY: Duration = Duration::from_secs(1);
const AGENT: &str = concat!("nat-health-checker/", env!("CARGO_PKG_VERSION"));

/// How a target is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// By which the target is known: one that has the same id and address later is the same.
    pub id: u64,
    pub address: SocketAddrV4,
    pub kind: Kind,
    /// From the start of a check to that of the next one.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    pub thresholds: Thresholds,
}

/// What a target must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Accept a connection.
    Tcp,
    /// Answer GET with 200 to 399; no redirection is followed.
    Http {
        /// With a query or without.
        path: String,
    },
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no answer within {0:?}")]
    AnswerTimeout(Duration),
    #[error("no HTTP answer: {}", with_source(.0))]
    Answer(#[source] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("nothing can be asked for as `{path}`: {source}")]
    Path {
        path: String,
        source: axum::http::Error,
    },
}

/// Checks once.
///
/// # Errors
///
/// The target does not do what it must.
pub async fn perform(check: &Check, dial: &dyn Dial) -> Result<(), Failure> {
    let deadline = Instant::now() + check.timeout;
    let stream = timeout_at(deadline, dial.dial(check.address))
        .await
        .map_err(|_| Failure::ConnectTimeout(check.timeout))?
        .map_err(Failure::Connect)?;
    match &check.kind {
        Kind::Tcp => Ok(()),
        Kind::Http { path } => {
            let request = get(check.address, path)?;
            let status = timeout_at(deadline, ask(stream, request))
                .await
                .map_err(|_| Failure::AnswerTimeout(check.timeout))?
                .map_err(Failure::Answer)?;
            if status.is_success() || status.is_redirection() {
                Ok(())
            } else {
                Err(Failure::Status(status))
            }
        }
    }
}

fn get(address: SocketAddrV4, path: &str) -> Result<Request<Body>, Failure> {
    Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Body::empty())
        .map_err(|source| Failure::Path {
            path: path.to_owned(),
            source,
        })
}

async fn ask(stream: TcpStream, request: Request<Body>) -> hyper::Result<StatusCode> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    // What breaks it off is told to whoever waits for the answer.
    let carry = async {
        let _ = connection.await;
        future::pending::<Infallible>().await
    };
    let converse = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        // Whether there is a whole body says nothing.
        let body = to_bytes(Body::new(response.into_body()), BODY_BYTES);
        let _ = timeout(BODY, body).await;
        Ok(status)
    };
    tokio::select! {
        status = converse => status,
        never = carry => match never {},
    }
}

/// What hyper calls it, and what the system says.
fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
