//! The socket that clients connect to: one that systemd passes, or one of the daemon's own, which only the user and one
//! group can reach.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::unistd::{Gid, Group};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

use crate::failure::Failure;

/// Groups that may connect to root's daemon where none is named; the first that there is.
const GROUPS: [&str; 2] = ["docker", "cradle"];

/// The socket, and what is to be tidied up behind it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    own: Option<Own>,
}

/// A socket that the daemon made.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    /// Held while the socket is served.
    _lock: File,
}

impl Socket {
    /// Takes the socket that systemd passes, or makes one. Clients can connect from now on.
    pub(super) fn open(path: Option<&Path>, group: Option<&str>) -> Result<Self, Failure> {
        if let Some(listener) = passed()? {
            return Ok(Self { listener, own: None });
        }
        let path = match path {
            Some(path) => std::path::absolute(path).context("cannot find the socket's directory")?,
            None => default_path()?,
        };
        let group = group_id(group)?;
        let context = format!("cannot make the socket {}", path.display());
        let (listener, lock) = make(&path, group).map_err(|failure| failure.context(context))?;
        Ok(Self { listener, own: Some(Own { path, _lock: lock }) })
    }

    /// The listener for the event loop.
    pub(super) fn listener(&self) -> Result<tokio::net::UnixListener, Failure> {
        let listener = self.listener.try_clone().context("cannot share the socket")?;
        listener.set_nonblocking(true).context("cannot prepare the socket")?;
        Ok(tokio::net::UnixListener::from_std(listener).context("cannot watch the socket")?)
    }

    /// The path where clients connect, if it is known.
    pub(super) fn path(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.path.as_path())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            // Nobody serves it; the next daemon removes it where this one cannot.
            let _removed = fs::remove_file(&own.path);
        }
    }
}

/// The socket of a socket unit (sd_listen_fds(3)).
fn passed() -> Result<Option<UnixListener>, Failure> {
    let mut fds = listenfd::ListenFd::from_env();
    if fds.len() > 1 {
        return Err(Failure::new(format!(
            "{} sockets were passed in LISTEN_FDS, where one can be served",
            fds.len()
        )));
    }
    Ok(fds.take_unix_listener(0).context("cannot take the socket of LISTEN_FDS")?)
}

fn default_path() -> Result<PathBuf, Failure> {
    if geteuid().is_root() {
        return Ok("/run/cradle/docker.sock".into());
    }
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    dir.map(|dir| dir.join("cradle/docker.sock")).ok_or_else(|| {
        Failure::new("cannot choose a socket: XDG_RUNTIME_DIR is not set").hint("give --socket PATH")
    })
}

/// The group that may connect.
fn group_id(wanted: Option<&str>) -> Result<Option<Gid>, Failure> {
    let find =
        |name: &str| Group::from_name(name).with_context(|| format!("cannot look for the group {name}"));
    if let Some(name) = wanted {
        let group = find(name)?.ok_or_else(|| Failure::new(format!("there is no group {name}")))?;
        return Ok(Some(group.gid));
    }
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in GROUPS {
        if let Some(group) = find(name)? {
            return Ok(Some(group.gid));
        }
    }
    Ok(None)
}

/// Makes a socket in place of one that nobody serves.
fn make(path: &Path, group: Option<Gid>) -> Result<(UnixListener, File), Failure> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new("this is no name of a file"));
    };
    // Others than root keep theirs to themselves.
    let mode = if geteuid().is_root() { 0o755 } else { 0o700 };
    let made = DirBuilder::new().recursive(true).mode(mode).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let beside = |ending: &str| {
        let mut beside = name.to_owned();
        beside.push(ending);
        dir.join(beside)
    };
    let lock = lock(&beside(".lock"))?;
    replaceable(path)?;
    // Made beside its place and moved there: nobody connects to one that is not as it should be yet.
    let new = beside(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("cannot remove an old one")?;
        }
        _ => {}
    }
    let listener = UnixListener::bind(&new).context("cannot bind it")?;
    fs::set_permissions(&new, Permissions::from_mode(0o600)).context("cannot set its mode")?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&new, None, Some(group.as_raw())).context("cannot give it to the group")?;
    }
    fs::set_permissions(&new, Permissions::from_mode(0o660)).context("cannot set its mode")?;
    fs::rename(&new, path).context("cannot put it in its place")?;
    Ok((listener, lock))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Failure::new("another daemon serves it")),
        Err(error) => Err(error).context("cannot lock it")?,
    }
}

/// Refuses to replace what is no socket, or one where a daemon of another kind answers.
fn replaceable(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error).context("cannot look at what is there")?,
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Failure::new("something else is there"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error).context("cannot find out whether it is served")?,
        Ok(_) => Err(Failure::new("another daemon serves it")),
    }
}

/// Allows as many open files as the host does: each client and each pod takes some.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // With fewer the daemon serves fewer clients.
        let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().line()
    }

    #[test]
    fn it_is_for_one_user_and_one_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/docker.sock");
        let socket = Socket::open(Some(&path), None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        assert_eq!(socket.path(), Some(path.as_path()));
        drop(socket);
        assert!(!path.exists(), "it goes with its daemon");
        assert!(message(Socket::open(Some(&path), Some("no such group"))).contains("there is no group"));
    }

    #[test]
    fn one_that_is_served_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let served = Socket::open(Some(&path), None).unwrap();
        assert!(message(Socket::open(Some(&path), None)).ends_with("another daemon serves it"));
        UnixStream::connect(&path).unwrap();
        drop(served);
        let foreign = UnixListener::bind(&path).unwrap();
        assert!(message(Socket::open(Some(&path), None)).ends_with("another daemon serves it"));
        drop(foreign);
        Socket::open(Some(&path), None).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(message(Socket::open(Some(&path), None)).ends_with("something else is there"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _socket = Socket::open(Some(&path), None).unwrap();
        UnixStream::connect(&path).unwrap();
    }
}
