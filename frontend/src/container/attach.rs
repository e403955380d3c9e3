//! Attach (Docker Engine API, "Attach to a container"): a client's connection and one to the pod become one stream. A client
//! may come before the start: it is answered at once, and what it sends stays with the kernel until the pod takes it.
//! Frames of a WebSocket are the pod's own.

use std::rc::Rc;

use hyper::StatusCode;
use pod::PodDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use vdocker::EngineError;
use vdocker::encoding::Encoding;
use vdocker::hijack::{self, Hijacked};
use vdocker::response::Response;

use super::Container;
use super::record::Status;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::pods::client::{self, Asked, PodError, Protocol, Upgraded};
use crate::pods::held;
use crate::proxy;

/// Bytes that are handed on at a time.
const PIECE: usize = 64 << 10;

/// A client that was attached before the start.
pub(crate) struct Waiting {
    wish: Wish,
    connected: oneshot::Sender<Asked>,
}

/// What a client asks for.
struct Wish {
    protocol: Protocol,
    /// The path in the pod.
    path: String,
    /// The client's own query.
    query: String,
}

impl Wish {
    fn of(context: &Context, container: &Container, protocol: Protocol) -> Self {
        let end = if protocol == Protocol::WebSocket { "/ws" } else { "" };
        let path = format!("/v{}/containers/{}/attach{end}", context.version, container.id);
        Self { protocol, path, query: context.query_text().to_owned() }
    }

    /// Asks a pod, with parameters in front of the client's.
    async fn ask(&self, dir: &PodDir, first: &str) -> Result<Asked, PodError> {
        let target = format!("{}?{first}{}", self.path, self.query);
        client::ask_stream(client::connect(dir)?, self.protocol, &target, None).await
    }

    /// Asks the pod of a run for all of it, from its beginning.
    async fn ask_run(&self, dir: &PodDir) -> Result<Asked, PodError> {
        self.ask(dir, "run=1&").await
    }
}

/// `POST /containers/{id}/attach`.
pub(super) async fn attach(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    let encoding = if container.has_terminal() { Encoding::Raw } else { Encoding::Multiplexed };
    let wish = Wish::of(&context, &container, Protocol::Tcp);
    let (version, headers, wire) = (context.version, context.headers.clone(), context.wire.clone());
    let serving = Serving::new(context, container, wish).await?;
    wire.hijack_as(version, &headers, encoding, |client| serving.run(client)).await
}

/// `GET /containers/{id}/attach/ws`.
pub(super) async fn websocket(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    let accepted = vdocker::websocket::accept(&context.headers);
    let accepted = accepted.map_err(|error| EngineError::BadRequest(error.to_string()))?;
    let wish = Wish::of(&context, &container, Protocol::WebSocket);
    let wire = context.wire.clone();
    let serving = Serving::new(context, container, wish).await?;
    let head = accepted.headers();
    wire.hijack(StatusCode::SWITCHING_PROTOCOLS, &head, |client| serving.run(client)).await
}

/// The container, if it can be attached to.
fn found(context: &Context) -> Result<Rc<Container>, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    let reason = match container.status() {
        Status::Paused => "is paused, unpause the container before attach",
        Status::Restarting => "is restarting, wait until the container is running",
        Status::Removing | Status::Dead => "is marked for removal",
        Status::Created | Status::Running | Status::Exited => return Ok(container),
    };
    Err(EngineError::Conflict(format!("container {} {reason}", context.name)))
}

/// What is done with a client's connection.
struct Serving {
    daemon: Rc<Daemon>,
    container: Rc<Container>,
    wish: Wish,
    /// The stream of the run that goes on.
    upgraded: Option<Upgraded>,
    /// Whether what a container that does not run has written comes first.
    replays: bool,
    /// Whether what will be written follows.
    follows: bool,
}

impl Serving {
    async fn new(context: Context, container: Rc<Container>, wish: Wish) -> Result<Self, EngineError> {
        let daemon = context.daemon;
        let follows = context.query.flag("stream");
        let upgraded = if container.status() == Status::Running && container.is_reachable.get() {
            let exits = container.life.borrow().exits;
            let dir = daemon.pods.of(&container.id).map_err(|error| crate::failure::failed(&error))?;
            let asked = async { wish.ask(&dir, "").await?.answer().await };
            match asked.await {
                Ok(upgraded) => Some(upgraded),
                Err(error) => match proxy::broken(&container, exits, error).await {
                    // It has ended this moment: what it has written is read of its disk.
                    EngineError::Conflict(_) if !follows && !container.is_reachable.get() => None,
                    error => return Err(error),
                },
            }
        } else {
            None
        };
        container.tell(&daemon, "attach", &[]).await;
        // A WebSocket that has been replayed is closed.
        let replays = context.query.flag("logs") && !(follows && wish.protocol == Protocol::WebSocket);
        Ok(Self { daemon, container, wish, upgraded, replays, follows })
    }

    async fn run(self, mut client: Hijacked) {
        let Self { daemon, container, wish, upgraded, replays, follows } = self;
        if let Some(upgraded) = upgraded {
            return splice(client, upgraded).await;
        }
        if replays && container.state().started.is_some() && !container.is_reachable.get() {
            replay(&daemon, &container, &wish, &mut client).await;
        }
        let upgraded = if follows { next_run(&daemon, &container, wish, &client).await } else { None };
        match upgraded {
            Some(upgraded) => splice(client, upgraded).await,
            None => hijack::linger(client).await,
        }
    }
}

/// Gives out what a container that does not run has written. Where it cannot be read the client sees its end.
async fn replay(daemon: &Rc<Daemon>, container: &Rc<Container>, wish: &Wish, client: &mut Hijacked) {
    let gone = client.gone();
    let replayed = async {
        let reached = held::reach(daemon, container).await?;
        let Upgraded { stream, read } = wish.ask(&reached.dir, "stream=0&").await?.answer().await?;
        client.write_all(&read).await.map_err(PodError::Stream)?;
        copy(stream, client).await.map_err(PodError::Stream)?;
        Ok::<_, EngineError>(())
    };
    tokio::select! {
        _replayed = replayed => {}
        () = gone => {}
    }
}

/// The run that goes on by now, or the next one.
async fn next_run(
    daemon: &Daemon,
    container: &Rc<Container>,
    wish: Wish,
    client: &Hijacked,
) -> Option<Upgraded> {
    let asked = if container.is_reachable.get() {
        wish.ask_run(&daemon.pods.of(&container.id).ok()?).await.ok()
    } else {
        tokio::select! {
            asked = wait_for_start(container, wish, client) => asked,
            () = daemon.open.closing() => None,
        }
    };
    answered(asked?, client).await
}

/// The connection that the container's start makes; `None` where the client goes before, or nothing comes of the start.
async fn wait_for_start(container: &Container, wish: Wish, client: &Hijacked) -> Option<Asked> {
    let (connected, asked) = oneshot::channel();
    // Without those whose clients have gone.
    container.waiting.borrow_mut().retain(|one| !one.connected.is_closed());
    container.waiting.borrow_mut().push(Waiting { wish, connected });
    tokio::select! {
        asked = asked => asked.ok(),
        () = client.gone() => None,
    }
}

/// Connects all that wait for a pod which is about to boot.
pub(super) async fn connect_all(container: &Container, dir: &PodDir) {
    let waiting = std::mem::take(&mut *container.waiting.borrow_mut());
    for Waiting { wish, connected } in waiting {
        if connected.is_closed() {
            continue;
        }
        if let Ok(asked) = wish.ask_run(dir).await {
            // The client may have gone this moment.
            let _taken = connected.send(asked);
        }
    }
}

async fn answered(asked: Asked, client: &Hijacked) -> Option<Upgraded> {
    tokio::select! {
        upgraded = asked.answer() => upgraded.ok(),
        () = client.gone() => None,
    }
}

/// Hands bytes on both ways until the pod has said its last, or the client is gone. Either may end its own side before.
pub(super) async fn splice(client: Hijacked, upgraded: Upgraded) {
    let Upgraded { stream, read } = upgraded;
    let (mut reader, mut writer) = client.split();
    let (from_pod, to_pod) = UnixStream::into_split(stream);
    let mut to_pod = Some(to_pod);
    let output = async {
        if !read.is_empty() {
            writer.write_all(&read).await?;
        }
        copy(from_pod, &mut writer).await
    };
    tokio::select! {
        biased;
        _said = output => {}
        _gone = reader.forward(&mut to_pod, true, None) => return,
    }
    drop(to_pod);
    writer.finish(reader).await;
}

async fn copy(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}
