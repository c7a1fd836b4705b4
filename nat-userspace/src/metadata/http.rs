//! Which request gets which answer: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};

use super::{
    Catalogue, Described, Tree,
    token::{self, Holder, Key, TTL_SECONDS},
};
use crate::{config::MetadataAccess, services::Who};

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An answer, and how it is sent.
pub struct Answer {
    pub response: Response<Body>,
    /// How far this answer, and whatever else is sent by its connection, may go, in hops from the router.
    pub hop_limit: Option<u32>,
}

/// Answers whoever is known by `who`, at `now`, a time since the Unix epoch.
pub fn answer(
    request: &Parts,
    catalogue: &Catalogue,
    who: Option<&Who>,
    key: &Key,
    now: Duration,
) -> Answer {
    let Some(described) = who.and_then(|who| catalogue.find(who)) else {
        let what = "there is no instance with this address";
        return refusal(StatusCode::NOT_FOUND, what).into();
    };
    let metadata = &described.instance.metadata;
    let is_put = request.method == Method::PUT;
    let response = if metadata.access == MetadataAccess::Disabled {
        refusal(
            StatusCode::FORBIDDEN,
            "metadata is disabled for this instance",
        )
    } else if is_put && request.uri.path() == TOKEN_PATH {
        issue(request, &described, key, now)
    } else if !matches!(request.method, Method::GET | Method::HEAD)
        || request.uri.path() == TOKEN_PATH
    {
        not_allowed(request)
    } else {
        read(request, &described, key, now)
    };
    Answer {
        response,
        hop_limit: is_put.then_some(metadata.hop_limit),
    }
}

/// Says that somebody asks too much.
pub fn throttled() -> Answer {
    let mut response = refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many requests; ask again later",
    );
    let a_second = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, a_second);
    response.into()
}

fn issue(request: &Parts, described: &Described<'_>, key: &Key, now: Duration) -> Response<Body> {
    // Somebody's reverse proxy would give the token away to the internet.
    if request.headers.contains_key(FORWARDED) {
        return refusal(
            StatusCode::FORBIDDEN,
            "a request that was forwarded gets no token",
        );
    }
    let Some(ttl) = only(request, &TTL).and_then(seconds) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            &format!(
                "{TTL} must be there once, with {} to {} seconds",
                TTL_SECONDS.start(),
                TTL_SECONDS.end()
            ),
        );
    };
    let id = described.instance.id(&described.vpc.name);
    let expiry = now + Duration::from_secs(ttl.into());
    let token = token::issue(key, &holder(described, &id), expiry);
    let mut response = text(StatusCode::OK, token);
    response.headers_mut().insert(TTL, ttl.into());
    response
}

fn read(request: &Parts, described: &Described<'_>, key: &Key, now: Duration) -> Response<Body> {
    if request.headers.contains_key(TOKEN) {
        let id = described.instance.id(&described.vpc.name);
        let token = only(request, &TOKEN).map_or(&b""[..], HeaderValue::as_bytes);
        if let Err(refused) = token::verify(key, &holder(described, &id), token, now) {
            return refusal(StatusCode::UNAUTHORIZED, &refused.to_string());
        }
    } else if described.instance.metadata.access == MetadataAccess::Required {
        return refusal(
            StatusCode::UNAUTHORIZED,
            &format!("this instance asks with a token: PUT {TOKEN_PATH} makes one"),
        );
    }
    match Tree::of(described).find(request.uri.path()) {
        Some(found) => text(StatusCode::OK, found.into_owned()),
        None => refusal(StatusCode::NOT_FOUND, "there is nothing at this path"),
    }
}

fn not_allowed(request: &Parts) -> Response<Body> {
    let allowed = match request.uri.path() {
        TOKEN_PATH => "PUT",
        _ => "GET, HEAD",
    };
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("this path takes {allowed}"),
    );
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

const fn holder<'a>(described: &Described<'a>, id: &'a str) -> Holder<'a> {
    Holder {
        vpc: described.vpc.name.as_str(),
        id,
        private_ip: described.instance.private_ip,
    }
}

/// A header that is there once.
fn only<'r>(request: &'r Parts, name: &HeaderName) -> Option<&'r HeaderValue> {
    let mut values = request.headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn seconds(value: &HeaderValue) -> Option<u32> {
    let text = value.to_str().ok()?;
    // `parse` takes a sign, too.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| text.parse().ok())??;
    TTL_SECONDS.contains(&seconds).then_some(seconds)
}

fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    text(status, format!("{} - {why}\n", status.as_u16()))
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self {
            response,
            hop_limit: None,
        }
    }
}
