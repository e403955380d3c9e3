//! Attach over a WebSocket, frame by frame.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::bench::{Bench, head, request, until};
use crate::pod::spec_json;

const HEADERS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Bytes of a record whose length takes the longest form.
const LONG: usize = 64 << 10;

fn run(test: impl AsyncFnOnce(Bench)) {
    run_of(&["cat"], test);
}

fn run_of(cmd: &[&str], test: impl AsyncFnOnce(Bench)) {
    let mut spec = spec_json("web", cmd);
    spec["process"]["stdin"] = json!(true);
    Bench::run(vec![spec], test);
}

async fn open(bench: &Bench, version: &str, more: &str) -> UnixStream {
    let mut client = bench.connect();
    let target = format!("/{version}/containers/web/attach/ws?{more}stream=1&stdin=1&stdout=1&stderr=1");
    client.write_all(request("GET", &target, HEADERS, "").as_bytes()).await.unwrap();
    let head = head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    client
}

async fn send(client: &mut UnixStream, opcode: u8, payload: &[u8]) {
    let mask = [7, 11, 13, 17];
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    client.write_all(&frame).await.unwrap();
}

async fn receive(client: &mut UnixStream) -> (u8, Vec<u8>) {
    let (first, length) = (client.read_u8().await.unwrap(), client.read_u8().await.unwrap());
    assert!(first & 0x80 != 0 && length < 126);
    let mut payload = vec![0; length.into()];
    client.read_exact(&mut payload).await.unwrap();
    (first & 0x0f, payload)
}

#[test]
fn frames_are_input_and_output() {
    run(async |bench| {
        let mut client = open(&bench, "v1.50", "").await;
        send(&mut client, 2, b"hello").await;
        assert_eq!(receive(&mut client).await, (2, b"hello".to_vec()));
        send(&mut client, 9, b"there?").await;
        assert_eq!(receive(&mut client).await, (10, b"there?".to_vec()));
        // The end of the input ends the container, and the container's end the socket.
        send(&mut client, 8, &1000_u16.to_be_bytes()).await;
        assert_eq!(receive(&mut client).await, (8, 1000_u16.to_be_bytes().to_vec()));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        drop(client);
        until(|| bench.server.connections() == 0).await;
    });
}

#[test]
fn a_farewell_is_heard_before_all_is_said() {
    run_of(&["sleep", "1000"], async |bench| {
        let log = vdocker::Engine::containers(&*bench.engine)[0].log.clone();
        for _ in 0..100 {
            log.push(vdocker::log::Stream::Stdout, vec![b'x'; LONG].into());
        }
        log.flush().await;
        let mut client = open(&bench, "v1.50", "logs=1&").await;
        send(&mut client, 8, &1000_u16.to_be_bytes()).await;
        let mut heard = 0;
        while let (0x82, 127) = (client.read_u8().await.unwrap(), client.read_u8().await.unwrap()) {
            assert_eq!(client.read_u64().await.unwrap(), LONG as u64);
            client.read_exact(&mut vec![0; LONG]).await.unwrap();
            heard += 1;
        }
        assert!(heard < 100, "the client is left when it wants to be");
    });
}

#[test]
fn a_client_is_missed_although_nobody_reads_what_it_sent() {
    run_of(&["sleep", "1000"], async |bench| {
        let mut client = open(&bench, "v1.50", "").await;
        // More than a pipe holds, and less than a pipe and a socket do.
        let payload = vec![0; 150_000];
        let mut frame = vec![0x82, 0x80 | 127];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        client.write_all(&[frame, payload].concat()).await.unwrap();
        drop(client);
        until(|| bench.server.connections() == 0).await;
    });
}

#[test]
fn old_clients_get_text() {
    run(async |bench| {
        let mut client = open(&bench, "v1.27", "").await;
        send(&mut client, 1, b"hello").await;
        assert_eq!(receive(&mut client).await, (1, b"hello".to_vec()));
    });
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_and_left() {
    run(async |bench| {
        let mut client = open(&bench, "v1.50", "").await;
        client.write_all(&[0x82, 1, b'x']).await.unwrap();
        assert_eq!(receive(&mut client).await, (8, 1002_u16.to_be_bytes().to_vec()));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn no_handshake_no_socket() {
    run(async |bench| {
        let (status, body) = bench.request("GET", "/containers/web/attach/ws?stream=1", "").await;
        assert!(status == 400 && body.contains("websocket"), "{status} {body}");
    });
}
