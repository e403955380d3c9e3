//! What a client may send on one connection: requests, upgrades, and what follows those. The server has to end the
//! connection when the client is gone, and to keep nothing of it.

use std::rc::Rc;
use std::time::Duration;

use fuzz::{Fuzz, shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use vdocker::{Pod, Server};

use super::engine::IdleEngine;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// What the docker client sends, and others.
fn messages() -> Vec<Vec<u8>> {
    let requests = [
        ("HEAD /_ping", "", ""),
        (
            "GET /v1.50/containers/json?all=1&filters=%7B%22label%22%3A%7B%22tier%3Dfront%22%3Atrue%7D%7D",
            "",
            "",
        ),
        ("GET /v1.24/containers/web/json?size=1", "", ""),
        (
            "GET /v1.50/containers/web/logs?stderr=1&stdout=1&tail=2&since=1.5&until=99999999999&timestamps=1",
            "",
            "",
        ),
        ("GET /v1.50/containers/web/stats?stream=0", "", ""),
        ("GET /v1.50/containers/web/top?ps_args=-ef", "", ""),
        ("GET /v1.50/containers/web/changes", "", ""),
        ("GET /v1.50/events?until=1&filters=%7B%22type%22%3A%5B%22container%22%5D%7D", "", ""),
        ("GET /v1.50/events", "", ""),
        ("GET /v1.50/info", "", ""),
        ("POST /v1.50/containers/web/wait?condition=next-exit", "", ""),
        ("POST /v1.50/containers/web/attach?logs=1&stderr=1&stdin=1&stdout=1&stream=1", UPGRADE, ""),
        ("POST /v1.50/containers/web/attach?stdout=1&logs=1", "", ""),
        ("POST /v1.50/containers/web/resize?h=24&w=80", "", ""),
        ("POST /v1.50/containers/web/kill?signal=SIGTERM", "", ""),
        ("POST /v1.50/containers/web/stop?t=2", "", ""),
        (
            "POST /v1.50/containers/web/update",
            "",
            r#"{"Memory":67108864,"NanoCpus":500000000,"PidsLimit":5}"#,
        ),
        (
            "POST /v1.50/containers/web/exec",
            "",
            r#"{"Cmd":["sh"],"AttachStdout":true,"Env":["A=b"],"Tty":true}"#,
        ),
        ("POST /v1.50/containers/create?name=x", "", r#"{"Image":"busybox"}"#),
        ("HEAD /v1.50/containers/web/archive?path=%2Ftmp%2F", "", ""),
        ("GET /v1.50/containers/web/archive?path=/etc/passwd", "", ""),
        ("POST /cradle/shutdown?reason=enough&t=3", "", ""),
    ];
    let head = "Host: docker\r\nUser-Agent: Docker-Client/28.2.2 (linux)\r\n";
    let mut messages: Vec<Vec<u8>> = requests
        .iter()
        .map(|(line, headers, body)| {
            let length = body.len();
            let json = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
            format!("{line} HTTP/1.1\r\n{head}{headers}{json}Content-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        })
        .collect();
    let pipelined = messages[..4].concat();
    messages.push(pipelined);
    messages.push([&messages[11][..], b"input behind the request"].concat());
    messages.push(
        format!("PUT /v1.50/containers/web/archive?path=/tmp&noOverwriteDirNonDir=true HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
            .into_bytes(),
    );
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    messages.push(
        [
            format!("GET /v1.50/containers/web/attach/ws?stdin=1&stdout=1&stream=1&logs=1 HTTP/1.1\r\n{head}{socket}\r\n").as_bytes(),
            b"\x82\x83\x01\x02\x03\x04abc\x89\x81\x01\x02\x03\x04x\x88\x82\x00\x00\x00\x00\x03\xe8",
        ]
        .concat(),
    );
    messages
}

/// Sends a message in pieces, ends its side, and hangs up once the server has said all. Returns what it said.
async fn talk(server: &Server<Pod<IdleEngine>>, input: &[u8]) -> Vec<u8> {
    let (mut client, socket) = UnixStream::pair().expect("sockets can be made");
    let served = spawn_local({
        let server = server.clone();
        async move { server.serve_connection(socket).await }
    });
    let mut answer = Vec::new();
    let piece = 1 + input.len() % 7 * 41;
    let mut pieces = input.chunks(piece);
    let mut buffer = [0; 4096];
    let mut sending = true;
    // Time stands still unless nobody has anything to do: silence is the end of what the server has to say.
    loop {
        let quiet = Duration::from_secs(if sending { 1 } else { 3 });
        if sending {
            match pieces.next() {
                // A server that does not read on has enough of what it has not answered: so has its client then.
                Some(piece) => sending = matches!(timeout(quiet, client.write_all(piece)).await, Ok(Ok(()))),
                None => {
                    sending = false;
                    let _gone = client.shutdown().await;
                }
            }
        }
        match timeout(quiet, client.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            Err(_elapsed) if sending => {}
            Err(_elapsed) => break,
        }
        // A followed answer has no end while its client sends on, however slowly.
        if answer.len() > 1 << 20 {
            break;
        }
    }
    drop(client);
    timeout(Duration::from_secs(3600), served)
        .await
        .expect("the connection ends")
        .expect("its task does not fail");
    assert_eq!((server.connections(), server.streams()), (0, 0));
    answer
}

/// The statuses of the answers, and the words of the last one.
fn statuses(answer: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let heads = memchr::memmem::find_iter(answer, b"HTTP/1.1 ");
    let tail = answer.len().saturating_sub(24);
    (heads.map(|at| &answer[at..answer.len().min(at + 12)]).take(6).collect(), &answer[tail..])
}

#[test]
fn connections() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let server = Server::new(Rc::new(IdleEngine::new()));
    let words = [
        "\r\n\r\n",
        "\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: tcp\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "/v1.50",
        "/containers/",
        "cradle",
        "web",
        "container.0",
        "0a0a",
        "HTTP/1.0",
        "%00",
        "&tail=all",
        "&follow=1",
        "&stream=1",
        "&condition=removed",
        "{\"",
        "[]",
        "null",
    ];
    Fuzz::new("http", messages()).words(words).iterations(1500).run(|input| {
        let answer = LocalSet::new().block_on(&runtime, talk(&server, input));
        shape(statuses(&answer))
    });
}
