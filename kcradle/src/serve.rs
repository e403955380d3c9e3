//! `kcradle serve`: the Docker Engine API of this host (docs/frontend.md), on a socket and until a signal.
//!
//! The pods that it starts are processes of their own and outlive it. Nothing of it runs in those.

mod listen;
pub(crate) mod log;
mod notify;
mod socket;
mod tls;

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use frontend::{Config, Daemon, metrics};
use image::Registries;
use pod::Package;
use spec::package::Machine;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::cli::serve::ServeArgs;
use crate::failure::Failure;
use crate::home;

use socket::Socket;

/// For requests that are under way when the daemon is to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until a signal asks for the end.
pub(crate) fn run(args: &ServeArgs) -> Result<u8, Failure> {
    // Work that blocks has many threads, one after the other: each would keep what it has freed.
    vmm::sandbox::share_one_arena();
    log::start(args.log_format, args.log_level);
    socket::raise_open_files();
    let config = config(args)?;
    let doors = Doors::open(args)?;
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the event loop")?;
    let served = LocalSet::new().block_on(&runtime, serve(config, doors, args));
    // Threads that work for nobody any more are not waited for: what they do can be torn at any time.
    runtime.shutdown_background();
    ::log::logger().flush();
    served.map(|()| 0)
}

/// Where clients come in.
struct Doors {
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

impl Doors {
    fn open(args: &ServeArgs) -> Result<Self, Failure> {
        let tls = match (&args.tls_cert, &args.tls_key, &args.tls_ca) {
            (Some(certificate), Some(key), Some(authority)) => {
                Some(tls::acceptor(certificate, key, authority)?)
            }
            _ => None,
        };
        Ok(Self { socket: Socket::open(args.socket.as_deref(), args.group.as_deref())?, tls })
    }
}

async fn serve(config: Config, doors: Doors, args: &ServeArgs) -> Result<(), Failure> {
    // Before anything is begun: a signal that comes now ends the daemon in order.
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for signals")?;
    let (tcp, scraped) = (bind(args.tcp).await?, bind(args.metrics).await?);
    let server = Daemon::start(config).await.map_err(anyhow::Error::from)?;
    let metrics = metrics::server(server.service());
    let listener = doors.socket.listener()?;
    let socket = doors.socket.path().map(|path| path.display().to_string()).unwrap_or_default();
    let addresses = [&tcp, &scraped].map(|bound| bound.as_ref().and_then(|bound| bound.local_addr().ok()));
    let [tcp_at, metrics_at] = addresses.map(|at| at.map(|at| at.to_string()).unwrap_or_default());
    ::log::info!(version = env!("CARGO_PKG_VERSION"), socket:% = socket, tcp:% = tcp_at, metrics:% = metrics_at; "serving");
    notify::tell("READY=1");
    let over_tcp = async {
        match (&tcp, &doors.tls) {
            (Some(listener), Some(acceptor)) => listen::tls(listener, acceptor, &server).await,
            _ => pending().await,
        }
    };
    let over_metrics = async {
        match &scraped {
            Some(listener) => listen::plain(listener, &metrics).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = listen::unix(&listener, &server) => {}
        () = over_tcp => {}
        () = over_metrics => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::tell("STOPPING=1");
    ::log::info!(connections = server.connections() as u64; "stopping");
    drop((listener, tcp, scraped));
    let all_answered = server.close(GRACE).await;
    Rc::clone(server.service()).end().await;
    ::log::info!(all_answered = all_answered; "stopped");
    Ok(())
}

async fn bind(address: Option<std::net::SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    match address {
        Some(address) => Ok(Some(listen::bind(address).await?)),
        None => Ok(None),
    }
}

fn config(args: &ServeArgs) -> Result<Config, Failure> {
    let home = home::find()?;
    let state = args.state.clone().unwrap_or_else(|| home.path().join("serve"));
    let state = std::path::absolute(state).context("cannot name the state directory")?;
    Ok(Config {
        // A state of one's own has volumes of its own.
        volumes: if args.state.is_some() { &state } else { home.path() }.join("volumes"),
        state,
        images: home.path().join("store"),
        templates: home.templates(),
        home,
        package: Package::find(Machine::Default).map_err(anyhow::Error::from)?,
        registries: Registries {
            mirrors: args.registry_mirror.clone(),
            insecure: args.insecure_registry.clone(),
        },
        program: std::env::current_exe().context("cannot find this program's own file")?,
    })
}
