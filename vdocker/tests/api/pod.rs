//! A pod for a test: the fake engine and the API on a thread of their own, and the docker client that drives them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use vdocker::{Engine, Server, Verb, health};

use crate::fake::FakeEngine;

/// How long a pod's connections may take to end.
const CLOSING: Duration = Duration::from_secs(20);

/// A specification of a container as JSON, to be changed where a test wants something else.
pub(crate) fn spec_json(name: &str, cmd: &[&str]) -> Value {
    json!({
        "name": name,
        "image": {
            "ref": "busybox:1", "digest": format!("sha256:{}", "ab".repeat(32)), "disk": 0, "writable": "tmpfs",
        },
        "process": {
            "cmd": cmd, "workdir": "/", "tty": false, "stdin": false,
            "env": [{ "name": "A", "value": "b" }],
            "capabilities": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "stopSignal": 15, "stopTimeout": 10,
        },
        "hostname": name,
        "labels": { "tier": "front", "empty": "" },
        "shmSize": 67_108_864,
    })
}

/// A running pod; it ends with the value.
pub(crate) struct Pod {
    folder: TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Ended>>,
}

/// How a pod ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Why, where somebody asked for it through the API.
    pub(crate) reason: Option<String>,
    /// Whether all connections ended in time.
    pub(crate) closed: bool,
}

impl Pod {
    /// A pod of those containers, all started.
    pub(crate) fn start(specs: Vec<Value>) -> Self {
        Self::with_policy(specs, Vec::new())
    }

    /// A pod in which some verbs are denied.
    pub(crate) fn with_policy(specs: Vec<Value>, denied: Vec<Verb>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(LocalSet::new().run_until(serve(listener, specs, denied, ended)))
        });
        Self { folder, end: Some(end), thread: Some(thread) }
    }

    /// A pod of one container.
    pub(crate) fn of(cmd: &[&str]) -> Self {
        Self::start(vec![spec_json("web", cmd)])
    }

    /// The socket of its API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A folder for a test's own files.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.folder.path().join("files");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The docker client with those arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command.env("DOCKER_CONFIG", self.folder.path().join("config")).stdin(Stdio::null());
        command
    }

    /// Runs the docker client to its end.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Done {
        Done::from(self.command(arguments).output().unwrap())
    }

    /// Runs the docker client, which has to succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let done = self.docker(arguments);
        assert_eq!(done.code, 0, "docker {arguments:?}: {done:?}");
        done.stdout
    }

    /// Waits until a container has ended.
    pub(crate) fn wait(&self, name: &str) {
        self.request("POST", &format!("/containers/{name}/wait"), "");
    }

    /// Sends a request and returns its status and body.
    pub(crate) fn request(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        parse(&self.exchange(format!("{head}{body}").as_bytes()))
    }

    /// The JSON that a request with status 200 answers.
    #[track_caller]
    pub(crate) fn json(&self, target: &str) -> Value {
        let (status, body) = self.request("GET", target, "");
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Sends bytes, and returns all that comes until the server closes.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        // A server that refuses what it has read may close before it has read all.
        let _refused = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer
    }

    /// As [`Pod::exchange`] by a client that ends its side, where the server may wait for more.
    pub(crate) fn exchange_and_end(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let _refused = stream.write_all(bytes);
        let _closed = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer
    }

    /// Ends the pod, or waits for its end where `by_itself`.
    pub(crate) fn end(mut self, by_itself: bool) -> Ended {
        if !by_itself {
            drop(self.end.take());
        }
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _failed = thread.join();
        }
    }
}

/// Status and body of a response; chunks are put together.
pub(crate) fn parse(response: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return (0, text.into_owned()) };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return (status, body.to_owned());
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &after[..size];
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
    (status, whole)
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

async fn serve(
    listener: std::os::unix::net::UnixListener,
    specs: Vec<Value>,
    denied: Vec<Verb>,
    ended: oneshot::Receiver<()>,
) -> Ended {
    let listener = UnixListener::from_std(listener).unwrap();
    let specs = specs.into_iter().map(|spec| serde_json::from_value(spec).unwrap()).collect();
    let engine = Rc::new(FakeEngine::new(specs, denied));
    let server = Server::new(Rc::clone(&engine));
    for container in engine.containers() {
        spawn_local(health::supervise(Rc::clone(&engine), Rc::clone(container)));
        // One that cannot be started says so in its state.
        let _failed = engine.start(container).await;
    }
    let mut ending = engine.ending.subscribe();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            spawn_local(async move { server.serve_connection(stream).await });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = ended => {}
        _ = ending.wait_for(Option::is_some) => {}
    }
    engine.end().await;
    let reason = engine.ending.borrow().clone();
    Ended { reason, closed: server.close(CLOSING).await }
}
