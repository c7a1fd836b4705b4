//! Requests to orders, answers to responses.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, Path, Query, Request, State, rejection::BytesRejection,
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::openapi::{self, Endpoint};
use crate::{
    config::{
        MAX_FILE_BYTES,
        objects::{Kind, ObjectKey, Source},
    },
    desired::{Answer, Cause, Command, Order, Rejection},
};

/// Larger objects are refused: a route table of 500 routes is well below.
pub const MAX_OBJECT_BYTES: usize = 1024 * 1024;

type Orders = State<mpsc::Sender<Order>>;
type Result<T> = std::result::Result<T, Rejection>;

/// Every endpoint of [`openapi`] with its handlers.
pub fn router(orders: mpsc::Sender<Order>) -> Router {
    let mut router = Router::new();
    for endpoint in Endpoint::ALL {
        router = router.route(endpoint.path(), handlers(endpoint));
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_allowed)
        .with_state(orders)
}

fn handlers(endpoint: Endpoint) -> MethodRouter<mpsc::Sender<Order>> {
    let object = DefaultBodyLimit::max(MAX_OBJECT_BYTES);
    let file = DefaultBodyLimit::max(usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX));
    match endpoint {
        Endpoint::OpenApi => get(async || Json(openapi::document())),
        Endpoint::Status => get(status),
        Endpoint::Objects => get(objects),
        Endpoint::Vpcs => get(vpcs),
        Endpoint::Vpc => get(vpc).put(put_vpc).delete(delete_vpc).layer(object),
        Endpoint::Kind => get(list),
        Endpoint::Object => get(find).put(put).delete(delete).layer(object),
        Endpoint::Apply => post(apply).layer(file),
        Endpoint::Diff => post(diff).layer(file),
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = match self.cause {
            Cause::Malformed => StatusCode::BAD_REQUEST,
            Cause::Missing => StatusCode::NOT_FOUND,
            Cause::Conflict => StatusCode::CONFLICT,
            Cause::Outdated => StatusCode::PRECONDITION_FAILED,
            Cause::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Cause::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}

/// A request's body, or why it can't be had.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection: BytesRejection| {
                let status = rejection.into_response().status();
                if status == StatusCode::PAYLOAD_TOO_LARGE {
                    Rejection::new(
                        Cause::TooLarge,
                        "the body is too large",
                        "body",
                        "send less",
                    )
                } else {
                    Rejection::new(
                        Cause::Malformed,
                        "the body broke off",
                        "body",
                        "send it again",
                    )
                }
            })
    }
}

async fn nowhere() -> Rejection {
    Rejection::new(
        Cause::Missing,
        "there is nothing at this path",
        "path",
        "GET /v1/openapi.json lists what there is",
    )
}

async fn not_allowed() -> Response {
    let rejection = Rejection::new(
        Cause::Malformed,
        "this path does not take this method",
        "method",
        "GET /v1/openapi.json lists what there is",
    );
    (StatusCode::METHOD_NOT_ALLOWED, Json(rejection)).into_response()
}

async fn status(State(orders): Orders) -> Result<Response> {
    ask(&orders, Command::Status, None).await
}

async fn objects(State(orders): Orders) -> Result<Response> {
    ask(&orders, Command::List(None, None), None).await
}

async fn vpcs(State(orders): Orders) -> Result<Response> {
    ask(&orders, Command::List(None, Some(Kind::Vpc)), None).await
}

async fn vpc(orders: Orders, Path(name): Path<String>) -> Result<Response> {
    find(
        orders,
        Path((name.clone(), Kind::Vpc.name().to_owned(), name)),
    )
    .await
}

async fn put_vpc(
    orders: Orders,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let path = Path((name.clone(), Kind::Vpc.name().to_owned(), name));
    put(orders, path, headers, body).await
}

async fn delete_vpc(
    orders: Orders,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let path = Path((name.clone(), Kind::Vpc.name().to_owned(), name));
    delete(orders, path, headers).await
}

async fn list(
    State(orders): Orders,
    Path((vpc, kind)): Path<(String, String)>,
) -> Result<Response> {
    let command = Command::List(Some(vpc), Some(self::kind(&kind)?));
    ask(&orders, command, None).await
}

async fn find(
    State(orders): Orders,
    Path(path): Path<(String, String, String)>,
) -> Result<Response> {
    ask(&orders, Command::Find(key(&path)?), None).await
}

async fn put(
    State(orders): Orders,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response> {
    let key = key(&path)?;
    let spec: Map<String, Value> = serde_json::from_slice(&body).map_err(|error| {
        Rejection::new(
            Cause::Malformed,
            format!("the body is no JSON object: {error}"),
            "body",
            "send the object's keys as they stand in a file, as JSON",
        )
    })?;
    ask(&orders, Command::Put(key, spec), expected(&headers)?).await
}

async fn delete(
    State(orders): Orders,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    ask(&orders, Command::Delete(key(&path)?), expected(&headers)?).await
}

/// What a file is called in messages.
#[derive(Deserialize)]
struct Named {
    #[serde(default = "unnamed")]
    name: String,
}

fn unnamed() -> String {
    "API".to_owned()
}

async fn apply(
    State(orders): Orders,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let command = Command::Apply(source(named, body)?);
    ask(&orders, command, expected(&headers)?).await
}

async fn diff(State(orders): Orders, Query(named): Query<Named>, body: Body) -> Result<Response> {
    ask(&orders, Command::Diff(source(named, body)?), None).await
}

fn source(named: Named, Body(body): Body) -> Result<Source> {
    let text = String::from_utf8(body.to_vec()).map_err(|_| {
        Rejection::new(
            Cause::Malformed,
            "the body is not valid UTF-8",
            "body",
            "send the text of a configuration file",
        )
    })?;
    Ok(Source {
        name: named.name,
        text,
    })
}

fn kind(name: &str) -> Result<Kind> {
    name.parse().map_err(|()| {
        let known: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
        Rejection::new(
            Cause::Missing,
            format!("there is no kind of objects {name:?}"),
            "path",
            format!("the kinds are {}", known.join(", ")),
        )
    })
}

fn key((vpc, kind, name): &(String, String, String)) -> Result<ObjectKey> {
    let key = ObjectKey::new(vpc, self::kind(kind)?, name);
    if !key.is_valid() || (key.kind == Kind::Vpc && vpc != name) {
        return Err(Rejection::new(
            Cause::Malformed,
            "this can be no object's name",
            "path",
            "names are of letters, digits, '.', '_' and '-'; a VPC's stands there once",
        ));
    }
    Ok(key)
}

/// The revision that the client has seen last.
fn expected(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let number = number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| {
            Rejection::new(
                Cause::Malformed,
                "this is no revision",
                "If-Match",
                "send back what came as ETag",
            )
        })?;
    Ok(Some(number))
}

/// Has the controller do it.
async fn ask(
    orders: &mpsc::Sender<Order>,
    command: Command,
    expected: Option<u64>,
) -> Result<Response> {
    let (answer, answered) = oneshot::channel::<Answer>();
    let order = Order {
        command,
        expected,
        answer,
    };
    let gone = || {
        Rejection::new(
            Cause::Failed,
            "the controller is ending",
            "",
            "ask the next one",
        )
    };
    orders.send(order).await.map_err(|_| gone())?;
    let reply = answered.await.map_err(|_| gone())??;
    let status = if reply.made {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut body = reply.body;
    if let Some(object) = body.as_object_mut() {
        object.insert("revision".to_owned(), reply.revision.into());
    }
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", reply.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
