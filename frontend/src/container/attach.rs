//! Attach (Docker Engine API, "Attach to a container"): a client's connection and one to the pod become one stream. A client
//! may come before the start: it is answered at once, and what it sends stays with the kernel until the pod takes it.

use std::rc::Rc;

use pod::PodDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use vdocker::EngineError;
use vdocker::encoding::Encoding;
use vdocker::hijack::{self, Hijacked};
use vdocker::response::Response;

use super::Container;
use super::record::Status;
use crate::context::Context;
use crate::pods::client::{self, Asked, PodError, Upgraded};

/// Bytes that are handed on at a time.
const PIECE: usize = 64 << 10;

/// A client that was attached before the start.
pub(crate) struct Waiting {
    target: String,
    connected: oneshot::Sender<Asked>,
}

/// `POST /containers/{id}/attach`.
pub(super) async fn attach(context: Context) -> Result<Response, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    let id = &context.name;
    let reason = match container.status() {
        Status::Paused => "is paused, unpause the container before attach",
        Status::Restarting => "is restarting, wait until the container is running",
        Status::Removing | Status::Dead => "is marked for removal",
        Status::Created | Status::Running | Status::Exited => "",
    };
    if !reason.is_empty() {
        return Err(EngineError::Conflict(format!("container {id} {reason}")));
    }
    let encoding = if container.has_terminal() { Encoding::Raw } else { Encoding::Multiplexed };
    let daemon = Rc::clone(&context.daemon);
    if container.status() == Status::Running && container.is_reachable.get() {
        let target = target(&context, &container.id, false);
        let dir = daemon.pods.of(&container.id).map_err(|error| crate::failure::failed(&error))?;
        let upgraded = client::ask_stream(client::connect(&dir)?, &target, None).await?.answer().await?;
        container.tell(&daemon, "attach", &[]).await;
        return stream(context, encoding, async move |client| splice(client, upgraded).await).await;
    }
    let target = target(&context, &container.id, true);
    container.tell(&daemon, "attach", &[]).await;
    stream(context, encoding, async move |client| {
        let asked = match container.is_reachable.get() {
            true => reach(&daemon, &container, &target).await.ok(),
            false => tokio::select! {
                asked = wait_for_start(&container, target, &client) => asked,
                () = daemon.open.closing() => None,
            },
        };
        let upgraded = match asked {
            Some(asked) => answered(asked, &client).await,
            None => None,
        };
        match upgraded {
            Some(upgraded) => splice(client, upgraded).await,
            None => hijack::linger(client).await,
        }
    })
    .await
}

/// Takes the client's connection over.
async fn stream<F: Future<Output = ()> + 'static>(
    context: Context,
    encoding: Encoding,
    run: impl FnOnce(Hijacked) -> F + 'static,
) -> Result<Response, EngineError> {
    context.wire.hijack_as(context.version, &context.headers, encoding, run).await
}

/// What the pod is asked. With `run` (the pod's own) the stream has all of the run from its beginning.
fn target(context: &Context, id: &str, run: bool) -> String {
    let query = context.query_text();
    let run = if run { "run=1&" } else { "" };
    format!("/containers/{id}/attach?{run}{query}")
}

async fn reach(
    daemon: &crate::daemon::Daemon,
    container: &Container,
    target: &str,
) -> Result<Asked, PodError> {
    let dir = daemon.pods.of(&container.id).map_err(PodError::Connect)?;
    client::ask_stream(client::connect(&dir)?, target, None).await
}

/// The connection that the container's start makes; `None` where the client goes before, or nothing comes of the start.
async fn wait_for_start(container: &Container, target: String, client: &Hijacked) -> Option<Asked> {
    let (connected, asked) = oneshot::channel();
    // Without those whose clients have gone.
    container.waiting.borrow_mut().retain(|one| !one.connected.is_closed());
    container.waiting.borrow_mut().push(Waiting { target, connected });
    tokio::select! {
        asked = asked => asked.ok(),
        () = client.gone() => None,
    }
}

/// Connects all that wait for a pod which is about to boot.
pub(super) async fn connect_all(container: &Container, dir: &PodDir) {
    let waiting = std::mem::take(&mut *container.waiting.borrow_mut());
    for Waiting { target, connected } in waiting {
        if connected.is_closed() {
            continue;
        }
        let Ok(stream) = client::connect(dir) else { continue };
        if let Ok(asked) = client::ask_stream(stream, &target, None).await {
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
        () = reader.forward(&mut to_pod, true) => return,
    }
    drop(to_pod);
    writer.finish(reader).await;
}

async fn copy(mut from: impl AsyncRead + Unpin, to: &mut hijack::Writer) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}
