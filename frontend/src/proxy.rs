//! Requests that a container's own pod answers: handed on as they come, bodies both ways without being kept.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::timeout;
use vdocker::EngineError;
use vdocker::body::Body;
use vdocker::response::{self, Response};

use crate::container::Container;
use crate::context::Context;
use crate::pods::client::{self, PodError, Upload};
use crate::pods::held::{self, Reached};

/// What is said of a path, base64.
const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// How long a pod that does not answer any more may take to be over.
const ENDING: Duration = Duration::from_secs(15);

/// Bytes of an answer that is handed on as a whole, with its length.
const SMALL: u64 = 64 << 10;

/// Hands a request on to the pod of a container that runs, below the container's path there.
///
/// # Errors
/// [`EngineError::Conflict`] where it does not run, and those of the pod.
pub(crate) async fn to_running(
    context: Context,
    container: &Rc<Container>,
    path: &str,
) -> Result<Response, EngineError> {
    must_run(container)?;
    let daemon = Rc::clone(&context.daemon);
    let exits = container.life.borrow().exits;
    let reached = held::reach(&daemon, container).await?;
    if reached.is_held() {
        return Err(not_running(container));
    }
    hand_on(context, container, path, reached, exits).await
}

/// Hands a request on to a container's pod, which is booted for it where the container does not run.
///
/// # Errors
/// Those of booting, and of the pod.
pub(crate) async fn to_any(
    context: Context,
    container: &Rc<Container>,
    path: &str,
) -> Result<Response, EngineError> {
    let daemon = Rc::clone(&context.daemon);
    let exits = container.life.borrow().exits;
    let mut reached = held::reach(&daemon, container).await?;
    if !matches!(context.method, Method::GET | Method::HEAD) {
        // What of the body has gone does not come again.
        return hand_on(context, container, path, reached, exits).await;
    }
    let target = target(&context, container, path);
    let answer = match read(&context, &target, &reached).await {
        // It ends this very moment: then what it leaves is read. One that breaks off and stays is no reason to wait for ever.
        Err(error @ (PodError::Connect(_) | PodError::Http(_))) if !reached.is_held() => {
            if timeout(ENDING, container.is_over(exits)).await.is_err() {
                return Err(error.into());
            }
            reached = held::reach(&daemon, container).await?;
            read(&context, &target, &reached).await?
        }
        answer => answer?,
    };
    answered(answer, context.method == Method::HEAD, reached).await
}

async fn read(
    context: &Context,
    target: &str,
    reached: &Reached,
) -> Result<hyper::Response<Incoming>, PodError> {
    let stream = client::connect(&reached.dir)?;
    client::send(stream, context.method.clone(), target, &context.headers, Upload::None).await
}

/// What it means that the pod of a container that runs breaks off: that the container does not run any more, where it ends
/// this very moment. `exits` is how often it had ended before the pod was asked.
pub(crate) async fn broken(container: &Container, exits: u64, error: PodError) -> EngineError {
    let broke_off = matches!(error, PodError::Connect(_) | PodError::Http(_) | PodError::Stream(_));
    if !broke_off || timeout(ENDING, container.is_over(exits)).await.is_err() {
        return error.into();
    }
    if container.life.borrow().removed {
        return EngineError::NotFound(format!("No such container: {}", container.id));
    }
    // By its policy it may run again by now: not with what was asked for.
    must_run(container).err().unwrap_or_else(|| not_running(container))
}

/// Refuses a container without a process.
///
/// # Errors
/// [`EngineError::Conflict`] in Docker's words.
pub(crate) fn must_run(container: &Container) -> Result<(), EngineError> {
    use crate::container::record::Status;
    match container.status() {
        Status::Running | Status::Paused => Ok(()),
        Status::Restarting => Err(EngineError::Conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Err(not_running(container)),
    }
}

/// In Docker's words.
pub(crate) fn not_running(container: &Container) -> EngineError {
    EngineError::Conflict(format!("container {} is not running", container.id))
}

async fn hand_on(
    context: Context,
    container: &Container,
    path: &str,
    reached: Reached,
    exits: u64,
) -> Result<Response, EngineError> {
    let target = target(&context, container, path);
    request(context, container, &target, reached, exits).await
}

/// The path in the pod, and the client's query.
fn target(context: &Context, container: &Container, path: &str) -> String {
    format!("/v{}/containers/{}/{path}?{}", context.version, container.id, context.query_text())
}

/// Hands a request on under another path. `exits` is how often the container had ended before its pod was reached.
///
/// # Errors
/// Those of the pod.
pub(crate) async fn request(
    context: Context,
    container: &Container,
    target: &str,
    reached: Reached,
    exits: u64,
) -> Result<Response, EngineError> {
    let Context { method, headers, body, .. } = context;
    let is_head = method == Method::HEAD;
    let upload =
        if matches!(method, Method::GET | Method::HEAD) { Upload::None } else { Upload::Client(body) };
    let sent = async { client::send(client::connect(&reached.dir)?, method, target, &headers, upload).await };
    match sent.await {
        Ok(answer) => answered(answer, is_head, reached).await,
        Err(error) if reached.is_held() => Err(error.into()),
        Err(error) => Err(broken(container, exits, error).await),
    }
}

/// A pod's answer as the daemon's own.
async fn answered(
    answer: hyper::Response<Incoming>,
    is_head: bool,
    reached: Reached,
) -> Result<Response, EngineError> {
    let (parts, mut incoming) = answer.into_parts();
    let is_small = incoming.size_hint().exact().is_some_and(|length| length <= SMALL);
    let body = if is_head || parts.status == StatusCode::NO_CONTENT {
        Body::empty()
    } else if is_small {
        client::whole(incoming).await?.into()
    } else {
        Body::stream(async move |sink| {
            // The pod stays for as long as it is read.
            let _reached = reached;
            while let Some(frame) = incoming.frame().await {
                let bytes = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
                if !bytes.is_empty() {
                    sink.send(bytes).await;
                }
            }
            Ok(())
        })
    };
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    for name in [CONTENT_TYPE, PATH_STAT] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, HeaderValue::clone(value));
        }
    }
    Ok(response)
}

/// An answer in whose lines a text is another.
pub(crate) fn replaced(answer: Response, text: String, by: String) -> Response {
    let (parts, mut body) = answer.into_parts();
    let body = Body::stream(async move |sink| {
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame?.into_data() else { continue };
            while data.has_remaining() {
                let piece = data.chunk();
                let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |end| end + 1);
                line.extend_from_slice(&piece[..end]);
                data.advance(end);
                if line.ends_with(b"\n") || line.len() as u64 > SMALL {
                    let whole = String::from_utf8_lossy(&line).replace(&text, &by);
                    line.clear();
                    sink.send(Bytes::from(whole)).await;
                }
            }
        }
        if !line.is_empty() {
            sink.send(Bytes::from(String::from_utf8_lossy(&line).replace(&text, &by))).await;
        }
        Ok(())
    });
    Response::from_parts(parts, body)
}

/// An empty answer of that type.
pub(crate) fn nothing(content_type: &'static str) -> Response {
    response::typed(StatusCode::OK, content_type, Body::empty())
}
