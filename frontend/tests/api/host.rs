//! A daemon on a socket of its own, and its docker client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use frontend::{Config, Daemon};
use pod::{Home, Package};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// A daemon that runs. Ends with this.
pub(crate) struct Host {
    dir: TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Host {
    /// A daemon without containers and images.
    pub(crate) fn start() -> Self {
        let mut host = Self { dir: TempDir::new().unwrap(), running: None };
        host.resume();
        host
    }

    /// A daemon with an image `made:1` of nothing but a word.
    pub(crate) fn with_image() -> Self {
        let host = Self::start();
        let (tree, file) = (host.path("tree"), host.path("tree.tar"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("word"), "word").unwrap();
        let made = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&file).arg(".").status();
        assert!(made.unwrap().success());
        host.good(&["import", "--change", "CMD [\"/word\"]", &file.display().to_string(), "made:1"]);
        host
    }

    /// Ends the daemon, if it runs, and starts another on the same state.
    pub(crate) fn resume(&mut self) {
        self.stop();
        let config = Config {
            state: self.path("state"),
            images: self.path("images"),
            registries: image::Registries::default(),
            volumes: self.path("state/volumes"),
            templates: self.path("templates"),
            home: Home::at(self.path("home")),
            package: self.package(),
            program: self.path("kcradle"),
        };
        let socket = self.socket();
        // A daemon before this one left it.
        let _ = std::fs::remove_file(&socket);
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let server = Daemon::start(config).await.unwrap();
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                let accept = async {
                    loop {
                        let (connection, _) = listener.accept().await.unwrap();
                        let server = server.clone();
                        tokio::task::spawn_local(async move { server.serve_connection(connection).await });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = ended => {}
                }
                server.close(Duration::from_secs(5)).await;
            });
        });
        is_ready.recv().unwrap();
        self.running = Some((end, thread));
    }

    fn stop(&mut self) {
        if let Some((end, thread)) = self.running.take() {
            let _ = end.send(());
            thread.join().unwrap();
        }
    }

    /// A runtime package of the right form, with which no pod could boot.
    fn package(&self) -> Package {
        let folder = self.path("package");
        std::fs::create_dir_all(&folder).unwrap();
        let json = r#"{"version":3,"machine":"default","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"0"}}"#;
        for (file, text) in [("cradle.json", json), ("vmlinux", ""), ("initramfs", "")] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        Package::open(&folder).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// One request on a connection of its own, as in `POST /build`: its status and its answer.
    pub(crate) fn ask(&self, line: &str, body: &[u8]) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A daemon that has enough answers before it has read all.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        (answer.split(' ').nth(1).unwrap_or("0").parse().unwrap(), answer)
    }

    /// `docker` with arguments: exit code, standard output and error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(format!("unix://{}", self.socket().display())).args(arguments);
        docker.env("DOCKER_CONFIG", self.path("client")).stdin(Stdio::null());
        let output = docker.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What `docker` prints, without the last line feed; it must end with 0.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "docker {arguments:?}: {out}{err}");
        out.trim_end_matches('\n').to_owned()
    }

    /// What `docker` says against it; it must end with 1.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 1, "docker {arguments:?}: {out}{err}");
        err
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.running.take() {
            let _ = end.send(());
            // A panic in it has failed the test already.
            let _ = thread.join();
        }
    }
}
