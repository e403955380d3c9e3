//! `kcradle serve`: the Docker API of this host, on a Unix socket. The pods that it starts are processes of their own and
//! outlive it.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use frontend::{Config, Daemon};
use nix::unistd::{Group, chown};
use pod::{Home, Package};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use vdocker::Server;

use crate::cli::ServeArgs;
use crate::failure::Failure;
use crate::home;

/// The group whose members may use the socket, where there is one and the daemon is root's.
const GROUP: &str = "cradle";

/// How long requests may go on when the daemon is told to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: &ServeArgs) -> Result<u8, Failure> {
    let home = home::find()?;
    raise_descriptor_limit().context("cannot raise the limit on open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the event loop")?;
    let tasks = tokio::task::LocalSet::new();
    let served = tasks.block_on(&runtime, serve(args, &home));
    // Threads that work for nobody any more are not waited for.
    runtime.shutdown_background();
    served.map(|()| 0)
}

/// Lets this process have as many open files as it may: each connection of a client is one, and one to a pod beside it.
fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

async fn serve(args: &ServeArgs, home: &Home) -> Result<(), Failure> {
    let state = args.state.clone().unwrap_or_else(|| home.path().join("serve"));
    let config = Config {
        state: std::path::absolute(state).context("cannot name the state directory")?,
        images: home.path().join("store"),
        templates: home.templates(),
        home: home.clone(),
        package: Package::find().map_err(anyhow::Error::from)?,
        registries: image::Registries {
            mirrors: args.registry_mirror.clone(),
            insecure: args.insecure_registry.clone(),
        },
        program: std::env::current_exe().context("cannot find this program's own file")?,
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for signals")?;
    let server = Daemon::start(config).await.map_err(anyhow::Error::from)?;
    let path = args.socket.clone().unwrap_or_else(default_socket);
    let listener = listen(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
    eprintln!("kcradle: serving at {}", path.display());
    tokio::select! {
        () = accept(&server, &listener) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(listener);
    // Another daemon may listen there by now.
    let _removed = std::fs::remove_file(&path);
    server.close(GRACE).await;
    Rc::clone(server.service()).end().await;
    Ok(())
}

fn default_socket() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if !rustix::process::geteuid().is_root() => dir.join("cradle/docker.sock"),
        _ => PathBuf::from("/run/cradle/docker.sock"),
    }
}

/// Gives each connection a task.
async fn accept(server: &Server<Daemon>, listener: &UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::task::spawn_local(async move { server.serve_connection(stream).await });
            }
            // Too many open files: those that are open end at some time.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Listens at a path, in place of a socket at which nobody does. Its owner and its group may connect.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon serves there"));
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Until its group is set, it is its owner's alone.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound?;
    if let Ok(Some(group)) = Group::from_name(GROUP) {
        chown(path, None, Some(group.gid))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
