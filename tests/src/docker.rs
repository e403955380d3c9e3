//! The real docker client on a pod's `docker.sock`. Used by the end-to-end tests of the Docker API.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

use crate::{Ended, Pod};

/// A docker client.
pub struct Docker {
    host: String,
    /// Its folder of settings, so that it finds nobody's.
    config: TempDir,
}

impl Docker {
    /// The client of a pod.
    #[must_use]
    pub fn of(pod: &Pod<'_>) -> Self {
        Self::at(&pod.path().join("docker.sock"))
    }

    /// The client of whoever listens at a socket.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { host: format!("unix://{}", socket.display()), config: TempDir::new().unwrap() }
    }

    /// `docker` with arguments, standard input at its end.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        // Where a test hangs, its output tells in what.
        eprintln!("docker {arguments:?}");
        let mut command = Command::new("docker");
        command.args(["-H", &self.host]).args(arguments).env("DOCKER_CONFIG", self.config.path());
        command.stdin(Stdio::null());
        command
    }

    /// How `docker` ends.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(arguments))
    }

    /// What `docker` prints; it must end with 0.
    pub fn good(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(
            ended.code,
            Some(0),
            "docker {arguments:?}: stdout: {}\nstderr: {}",
            ended.out(),
            ended.err()
        );
        ended.out()
    }

    /// What `docker events` prints of the last hour up to now.
    pub fn events(&self, arguments: &[&str]) -> String {
        // The client cuts times to seconds: the next one is behind all that has happened.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let until = (now + 1).to_string();
        self.good(&[&["events", "--since", "1h", "--until", &until], arguments].concat())
    }

    /// What `docker` says against it; it must end with `code`.
    pub fn refused(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.run(arguments);
        assert_eq!(
            ended.code,
            Some(code),
            "docker {arguments:?}: stdout: {}\nstderr: {}",
            ended.out(),
            ended.err()
        );
        ended.err()
    }

    /// `docker` with pipes at all three streams, running.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What `docker exec CONTAINER sh -c SCRIPT` prints; it must end with 0.
    pub fn shell(&self, container: &str, script: &str) -> String {
        self.good(&["exec", container, "sh", "-c", script])
    }

    /// Gives the client the locked docker compose.
    #[must_use]
    pub fn with_compose(self) -> Self {
        let plugins = crate::tool("docker-compose-2.40.3/cli-plugins");
        std::os::unix::fs::symlink(plugins, self.config.path().join("cli-plugins")).unwrap();
        self
    }

    /// The client's folder of settings.
    #[must_use]
    pub fn config(&self) -> &Path {
        self.config.path()
    }
}
