//! Takes connections for as long as the daemon runs, each in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use vdocker::{Server, Service};

use crate::failure::Failure;

use super::tls::Secure;

/// Before the next attempt where a connection could not be taken: there are no descriptors or there is no memory left.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients that have not shown their certificates yet.
const STRANGERS: usize = 64;

/// For a client to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Listens at an address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?)
}

/// Serves the clients of a Unix socket. Never returns.
pub(super) async fn unix<S: Service>(listener: &UnixListener, server: &Server<S>) {
    loop {
        if let Some((connection, _)) = taken(listener.accept().await).await {
            let server = server.clone();
            tokio::task::spawn_local(async move { server.serve_connection(connection).await });
        }
    }
}

/// Serves whoever connects to an address. Never returns.
pub(super) async fn plain<S: Service>(listener: &TcpListener, server: &Server<S>) {
    loop {
        if let Some((connection, _)) = taken(listener.accept().await).await {
            let server = server.clone();
            tokio::task::spawn_local(async move { server.serve_connection(connection).await });
        }
    }
}

/// Serves clients that show a certificate. Never returns.
pub(super) async fn tls<S: Service>(listener: &TcpListener, acceptor: &TlsAcceptor, server: &Server<S>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        let Some((connection, peer)) = taken(listener.accept().await).await else { continue };
        // Who comes when there are too many is told nothing: that would be work for strangers.
        let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else { continue };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        tokio::task::spawn_local(async move {
            let shaken = handshake(&acceptor, connection).await;
            drop(place);
            match shaken {
                Ok(connection) => server.serve_connection(connection).await,
                Err(error) => log::info!(peer:% = peer, error:% = error; "a client was refused"),
            }
        });
    }
}

async fn handshake(acceptor: &TlsAcceptor, connection: TcpStream) -> io::Result<Secure> {
    connection.set_nodelay(true)?;
    tokio::time::timeout(HANDSHAKE, acceptor.accept(connection)).await?.map(Secure)
}

/// A connection, or a pause.
async fn taken<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            log::warn!(error:% = error; "cannot take a connection");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}
