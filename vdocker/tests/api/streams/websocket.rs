//! Attach over a WebSocket, frame by frame.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::bench::{Bench, head, request, until};
use crate::pod::spec_json;

const HEADERS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn run(test: impl AsyncFnOnce(Bench)) {
    let mut spec = spec_json("web", &["cat"]);
    spec["process"]["stdin"] = json!(true);
    Bench::run(vec![spec], test);
}

async fn open(bench: &Bench, version: &str) -> UnixStream {
    let mut client = bench.connect();
    let target = format!("/{version}/containers/web/attach/ws?stream=1&stdin=1&stdout=1&stderr=1");
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
        let mut client = open(&bench, "v1.50").await;
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
fn old_clients_get_text() {
    run(async |bench| {
        let mut client = open(&bench, "v1.27").await;
        send(&mut client, 1, b"hello").await;
        assert_eq!(receive(&mut client).await, (1, b"hello".to_vec()));
    });
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_and_left() {
    run(async |bench| {
        let mut client = open(&bench, "v1.50").await;
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
