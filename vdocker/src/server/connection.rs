//! One connection: hyper reads its requests, until it ends or a route takes it over as a stream.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;

use super::{Request, Server, Service, Wire};
use crate::body::Body;
use crate::flow::{Answered, Flow, FlowIo, Phase};
use crate::hijack::hangup::hangup;
use crate::hijack::{self, Hijacked, Socket};
use crate::request_body::RequestBody;

/// For a request's head, from the end of the request before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// For a connection's first request, from the moment at which the server is asked to end.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;

/// Bytes that hyper reads or keeps for writing at a time.
const MAX_BUFFER: usize = 256 << 10;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// Serves a connection to its end.
pub(super) async fn serve<S: Service, T>(server: Server<S>, io: T)
where
    T: Socket,
{
    let wire = Wire::new(Rc::clone(&server.open));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (service, wire) = (Rc::clone(&server.service), wire.clone());
        // At once: hyper looks for the client's end before it asks for the answer.
        wire.flow.enter(Phase::Answering);
        async move { Ok::<_, Infallible>(answer(service, wire, request).await) }
    });
    let io = Rc::new(RefCell::new(io));
    let flow_io = FlowIo { io: Rc::clone(&io), flow: Rc::clone(&wire.flow) };
    let mut connection = builder().serve_connection(TokioIo::new(flow_io), service);
    let mut gone = None;
    let mut closing = Box::pin(end_due(&server, &wire.flow));
    let mut is_closing = false;
    // Whatever hyper's error says, the client is gone, or has been told.
    let takeover = poll_fn(|context| {
        if !is_closing && closing.as_mut().poll(context).is_ready() {
            is_closing = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if Pin::new(&mut connection).poll(context).is_ready() {
            return Poll::Ready(None);
        }
        // hyper does not look for the client's end behind bytes that wait to become the next request.
        if !wire.flow.is_following() {
            gone = None;
        } else if watch(&mut gone, &io).poll(context).is_ready() {
            return Poll::Ready(None);
        }
        wire.takeover.take().map_or(Poll::Pending, |takeover| Poll::Ready(Some(takeover)))
    })
    .await;
    let read = connection.into_parts().read_buf;
    drop(gone);
    let io = Rc::into_inner(io).expect("hyper has given its part back").into_inner();
    let stream = Hijacked::new(io, read);
    match takeover {
        Some(takeover) => takeover.run(stream).await,
        None => hijack::linger(stream).await,
    }
}

/// Returns once the connection is to end after the request that is under way, if one is. Who has not asked anything yet
/// may have connected in time, and gets an answer.
async fn end_due<S: Service>(server: &Server<S>, flow: &Flow) {
    server.open.closing().await;
    let _silent = tokio::time::timeout(FIRST_REQUEST, flow.begun()).await;
}

type Gone = Pin<Box<dyn Future<Output = ()>>>;

/// What returns when the client is gone, made where it is not there yet.
fn watch<'g, T: Socket>(gone: &'g mut Option<Gone>, io: &RefCell<T>) -> Pin<&'g mut dyn Future<Output = ()>> {
    gone.get_or_insert_with(|| Box::pin(hangup(io.borrow().as_fd().try_clone_to_owned()))).as_mut()
}

/// Tells a client that there are too many, without reading what it wants.
pub(super) async fn refuse<T: Socket>(mut io: T) {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\
        Content-Length: 36\r\n\r\n{\"message\":\"too many connections\"}\r\n";
    // A client that does not take it is gone.
    let _sent = io.write_all(BUSY.as_bytes()).await;
    hijack::linger(Hijacked::new(io, bytes::Bytes::new())).await;
}

async fn answer<S: Service>(
    service: Rc<S>,
    wire: Wire,
    request: hyper::Request<Incoming>,
) -> hyper::Response<Body> {
    let flow = Rc::clone(&wire.flow);
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, Rc::clone(&flow));
    let mut response = service.answer(Request { parts, body, wire }).await;
    response.body_mut().answered = Some(Answered(flow));
    response
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    builder
}
