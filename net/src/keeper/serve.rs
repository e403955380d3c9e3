//! The network's socket: pods come for a place and keep it while their connection is open, other networks ask for names.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::bridge::OpenTap;
use super::lease::{Lease, Network};
use super::place::Place;
use super::store::Store;
use super::{KeeperError, READY, failed, resolver, say};
use crate::definition::Definition;
use crate::dir::NetworkDir;
use crate::message::Request;
use crate::socket;
use crate::wire::{self, MAX_QUEUES, Question, Reply};

/// How long a question may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the first pod may take: whoever started the process has gone otherwise.
const FIRST: Duration = Duration::from_secs(10);
/// How long to wait where the process has no descriptors left.
pub(super) const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long a keeper that takes over listens to its pods before it answers.
const SETTLED: Duration = Duration::from_millis(20);
/// How long another network's process may take to answer.
const LOOKUP: Duration = Duration::from_secs(1);

/// A pod that another keeper has let in.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    /// Its connection.
    pub(super) lease: OwnedFd,
    /// What gets it what it has.
    pub(super) request: Request,
}

/// Serves the network until its last pod has gone, or a signal asks for the end.
pub(super) fn run(
    dir: &NetworkDir,
    definition: &Definition,
    place: &Place,
    open_tap: OpenTap,
    store: Rc<Store>,
    kept: Option<Vec<Kept>>,
) -> Result<(), KeeperError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| failed("start the event loop", source))?;
    let sockets = resolver::bind(place, definition)
        .map_err(|source| failed("listen at port 53 of the network's gateway", source))?;
    let network = Network::new(definition, place, open_tap, Some(store));
    let tasks = LocalSet::new();
    let served = tasks.block_on(&runtime, async {
        network.resolver().serve(sockets).map_err(|source| failed("serve names", source))?;
        let listener = socket::listen(dir).and_then(|listener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = listener.map_err(|source| failed("listen at the network's socket", source))?;
        let left = Rc::new(Notify::new());
        if let Some(kept) = kept {
            network.was_used();
            kept.into_iter().for_each(|kept| adopt(kept, &network, &left));
            // There may be none. Who has gone meanwhile is heard of before somebody new asks for the same.
            left.notify_one();
            tokio::time::sleep(SETTLED).await;
        }
        say(READY);
        serve(&listener, &network, &left).await.map_err(|source| failed("serve the network", source))?;
        // Nobody new comes in; who has just connected tries again.
        let _ = socket::remove(dir);
        drop(listener);
        Ok(())
    });
    // Leases end with their tasks.
    drop(tasks);
    served
}

async fn serve(listener: &UnixListener, network: &Rc<Network>, left: &Rc<Notify>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut open = tokio::time::Instant::now() + FIRST;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (network, left) = (Rc::clone(network), Rc::clone(left));
                    spawn_local(async move {
                        if let Err(error) = answer(stream, &network).await {
                            eprintln!("a client is lost: {error}");
                        }
                        left.notify_one();
                    });
                }
                Err(_) => tokio::time::sleep(EXHAUSTED).await,
            },
            // A question for names, of a network that has just lost its last pod, ends it, too.
            () = left.notified() => {
                if network.is_left() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep_until(open) => {
                if network.is_unused() {
                    return Ok(());
                }
                open += Duration::from_secs(3600);
            }
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Answers the one question of a connection, and keeps a place for as long as it is open.
async fn answer(mut stream: UnixStream, network: &Rc<Network>) -> io::Result<()> {
    let question = timeout(PATIENCE, receive(&mut stream)).await??;
    let request = match serde_json::from_slice(&question)? {
        Question::Lookup(wanted) => {
            let found = Reply::Found(network.pods().lookup(&wanted));
            return send(&mut stream, &found, &[]).await;
        }
        Question::Change { pod, change } => {
            let changed = network.change(&pod, change).map_or_else(Reply::Refused, Reply::Changed);
            return send(&mut stream, &changed, &[]).await;
        }
        Question::Attach(request) => request,
    };
    match network.attach(*request) {
        Err(why) => send(&mut stream, &Reply::Refused(why), &[]).await,
        Ok((answer, queues, lease)) => {
            network.keep(&lease, stream.as_fd());
            send(&mut stream, &Reply::Attached(Box::new(answer)), &queues).await?;
            drop(queues);
            stay(stream, lease).await;
            Ok(())
        }
    }
}

/// Keeps a place for as long as its connection is open. Whatever it says: its end is what counts.
async fn stay(mut stream: UnixStream, lease: Lease) {
    while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
    drop(lease);
}

/// Whether nobody is at the other end of a connection.
fn has_ended(connection: &OwnedFd) -> bool {
    let peeked = recv(connection, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    peeked.is_ok_and(|(length, _)| length == 0)
}

/// Gives a pod its place again; one that has gone meanwhile is heard of at once.
fn adopt(kept: Kept, network: &Rc<Network>, left: &Rc<Notify>) {
    let Kept { number, lease, request } = kept;
    if has_ended(&lease) {
        return network.forget(number);
    }
    let connection = std::os::unix::net::UnixStream::from(lease);
    let adopted = connection.set_nonblocking(true).and_then(|()| UnixStream::from_std(connection));
    let adopted = adopted.map_err(|error| error.to_string()).and_then(|stream| {
        let lease = network.adopt(request, number)?;
        network.keep(&lease, stream.as_fd());
        Ok((stream, lease))
    });
    match adopted {
        Ok((stream, lease)) => {
            let left = Rc::clone(left);
            spawn_local(async move {
                stay(stream, lease).await;
                left.notify_one();
            });
        }
        Err(why) => eprintln!("a pod has lost its place: {why}"),
    }
}

async fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; wire::length(length)?];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn send(stream: &mut UnixStream, reply: &Reply, queues: &[OwnedFd]) -> io::Result<()> {
    let (length, bytes) = wire::encode(reply)?;
    let descriptors: Vec<_> = queues.iter().map(OwnedFd::as_fd).collect();
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_QUEUES as usize))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&descriptors));
            }
            Ok(sendmsg(&*stream, &[io::IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL)?)
        });
        match sent {
            Ok(sent) => {
                stream.write_all(&length[sent..]).await?;
                return stream.write_all(&bytes).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What another network's pods are called, asked of its process; `None` also where it has none.
pub(super) async fn ask(dir: &NetworkDir, wanted: &str) -> Option<Vec<String>> {
    let ask = async {
        let (handle, path) = socket::through(dir)?;
        let mut stream = UnixStream::connect(path).await?;
        drop(handle);
        let (length, bytes) = wire::encode(&Question::Lookup(wanted.to_owned()))?;
        stream.write_all(&length).await?;
        stream.write_all(&bytes).await?;
        receive(&mut stream).await
    };
    let answer = timeout(LOOKUP, ask).await.ok()?.ok()?;
    match serde_json::from_slice(&answer).ok()? {
        Reply::Found(found) => found,
        _ => None,
    }
}
