//! The server and the fake engine in the test's own thread, reached over pairs of sockets: for tests that watch what a
//! connection holds, and for clients that do what the docker client never does.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use vdocker::stdcopy::{Decoder, Kind};
use vdocker::{Engine, Pod, Server};

use crate::fake::FakeEngine;
use crate::pod::parse;

/// What hangs is a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// A server and its engine.
pub(crate) struct Bench {
    pub(crate) engine: Rc<FakeEngine>,
    pub(crate) server: Server<Pod<FakeEngine>>,
}

impl Bench {
    /// Runs a test beside a pod of those containers, all started.
    pub(crate) fn run(specs: Vec<Value>, test: impl AsyncFnOnce(Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let specs = specs.into_iter().map(|spec| serde_json::from_value(spec).unwrap()).collect();
        let work = LocalSet::new();
        let whole = work.run_until(async {
            let engine = Rc::new(FakeEngine::new(specs, Vec::new()));
            for container in engine.containers() {
                engine.start(container).await.unwrap();
            }
            test(Self { server: Server::new(Rc::clone(&engine)), engine }).await;
        });
        runtime.block_on(async { tokio::time::timeout(LIMIT, whole).await }).expect("nothing hangs");
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> UnixStream {
        let (client, served) = UnixStream::pair().unwrap();
        spawn_local(self.server.serve_connection(served));
        client
    }

    /// A request on a connection of its own: status and body.
    pub(crate) async fn request(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let mut client = self.connect();
        let request = request(method, target, "Connection: close\r\n", body);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        parse(&answer)
    }

    /// The JSON that a request with status 200 answers.
    pub(crate) async fn json(&self, target: &str) -> Value {
        let (status, body) = self.request("GET", target, "").await;
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Creates an exec with both outputs and returns its id.
    pub(crate) async fn exec(&self, cmd: &[&str], more: &[(&str, bool)]) -> String {
        let mut body = serde_json::json!({ "Cmd": cmd, "AttachStdout": true, "AttachStderr": true });
        for &(name, value) in more {
            body[name] = value.into();
        }
        let (status, answer) = self.request("POST", "/containers/web/exec", &body.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["Id"].as_str().unwrap().to_owned()
    }

    /// Starts an exec on a new connection.
    pub(crate) async fn start(&self, id: &str) -> UnixStream {
        let target = format!("/exec/{id}/start");
        self.hijack("POST", &target, r#"{"Detach":false,"Tty":false}"#).await
    }

    /// Turns a new connection into a stream.
    pub(crate) async fn hijack(&self, method: &str, target: &str, body: &str) -> UnixStream {
        let mut client = self.connect();
        let request = request(method, target, UPGRADE, body);
        client.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
        client
    }

    /// The exit code of an exec that has ended.
    pub(crate) async fn exit_code(&self, id: &str) -> Option<i64> {
        self.json(&format!("/exec/{id}/json")).await["ExitCode"].as_i64()
    }
}

/// The headers with which the docker client asks for a stream.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// A request as text.
pub(crate) fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let content_type = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}{content_type}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Reads a response's head, and not a byte more.
pub(crate) async fn head(client: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads a multiplexed stream to its end: standard output and error.
pub(crate) async fn frames(client: &mut UnixStream) -> (Vec<u8>, Vec<u8>) {
    let (mut decoder, mut buffer) = (Decoder::default(), vec![0; 64 << 10]);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let count = client.read(&mut buffer).await.unwrap();
        if count == 0 {
            decoder.finish().unwrap();
            return (stdout, stderr);
        }
        let mut input = &buffer[..count];
        while let Some((kind, bytes)) = decoder.decode(&mut input).unwrap() {
            match kind {
                Kind::Stdout => stdout.extend_from_slice(bytes),
                Kind::Stderr => stderr.extend_from_slice(bytes),
                other => panic!("a frame of {other:?}"),
            }
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
