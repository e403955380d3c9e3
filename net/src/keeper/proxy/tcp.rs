//! A published port of TCP. The end of one direction is passed on while the other goes on; a side that does not read holds
//! up the other one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketType;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tokio::time::timeout;

use super::Place;
use crate::keeper::serve;

/// Connections through one port; others wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 1024;
/// Bytes on their way, each way of each connection.
const BUFFER: usize = 32 << 10;
/// How long a pod may take to accept.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes connections to `listener` on to the pod until it is aborted.
pub(in crate::keeper) fn start(
    listener: TcpListener,
    place: Place,
    to: SocketAddr,
) -> io::Result<AbortHandle> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let serve = async move {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        // Ends with this task.
        let mut connections = JoinSet::new();
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let client = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((client, _)) = client else {
                tokio::time::sleep(serve::EXHAUSTED).await;
                continue;
            };
            let place = place.clone();
            connections.spawn_local(async move {
                let _ = pass(client, &place, to).await;
                drop(slot);
            });
        }
    };
    Ok(spawn_local(serve).abort_handle())
}

async fn pass(mut client: TcpStream, place: &Place, to: SocketAddr) -> io::Result<()> {
    let pod = TcpStream::from_std(super::connect(place, SocketType::STREAM, to)?.into())?;
    timeout(PATIENCE, pod.writable()).await??;
    if let Some(error) = pod.take_error()? {
        return Err(error);
    }
    let mut pod = pod;
    for stream in [&client, &pod] {
        stream.set_nodelay(true)?;
        // A peer that has vanished is noticed some time.
        rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    }
    copy_bidirectional_with_sizes(&mut client, &mut pod, BUFFER, BUFFER).await?;
    Ok(())
}
