//! `kcradle serve` on a host of a test's own, and the docker client on it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Docker, Host, images};

/// A daemon that serves; it is killed when the value goes, its containers with it.
pub struct Daemon<'h> {
    host: &'h Host,
    socket: PathBuf,
    child: Child,
    user: Option<u32>,
}

impl<'h> Daemon<'h> {
    /// Starts a daemon in the host's folder and waits until it answers.
    #[must_use]
    pub fn start(host: &'h Host) -> Self {
        let socket = host.folder().join("docker.sock");
        let child = serve(host, &socket, None);
        let daemon = Self { host, socket, child, user: None };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Starts a daemon as the ordinary user with that number, who gets the host's folder.
    #[must_use]
    pub fn start_as(host: &'h Host, user: u32) -> Self {
        use std::os::unix::fs::chown;
        for folder in [host.folder(), host.home()] {
            std::fs::create_dir_all(folder).unwrap();
            chown(folder, Some(user), Some(user)).unwrap();
        }
        let socket = host.folder().join("docker.sock");
        let child = serve(host, &socket, Some(user));
        let daemon = Self { host, socket, child, user: Some(user) };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Starts a daemon that has the image `busybox`.
    #[must_use]
    pub fn with_busybox(host: &'h Host) -> Self {
        let daemon = Self::start(host);
        let archive = images::folder().join("busybox.docker.tar");
        daemon.docker().good(&["load", "-q", "-i", archive.to_str().unwrap()]);
        daemon
    }

    /// The client of the daemon.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker::at(&self.socket)
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Kills the daemon at once. What it has started goes on.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells the daemon to end, and answers its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Starts a daemon again that has ended.
    pub fn again(&mut self) {
        self.child = serve(self.host, &self.socket, self.user);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        for _ in 0..600 {
            if self.docker().run(&["version"]).code == Some(0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the daemon does not answer at {}", self.socket.display());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let docker = self.docker();
        let ids = docker.run(&["ps", "-aq"]).out();
        let ids: Vec<_> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            let _removed = docker.run(&[&["rm", "-f"][..], &ids].concat());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(host: &Host, socket: &Path, user: Option<u32>) -> Child {
    let state = host.folder().join("serve");
    let mut command: Command = host.kcradle(["serve"]);
    command.arg("--socket").arg(socket).arg("--state").arg(state);
    if let Some(user) = user {
        // The tools' folder is not for everybody.
        if let Some(virtiofsd) = crate::host::virtiofsd() {
            let copy = host.folder().join("virtiofsd");
            std::fs::copy(virtiofsd, &copy).unwrap();
            command.env("CRADLE_VIRTIOFSD", copy);
        }
        command.uid(user).gid(user);
    }
    command.stdout(Stdio::null()).spawn().unwrap()
}
