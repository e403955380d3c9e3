//! Answers that last: what a client that leaves sets free, and how the server's end ends them.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vdocker::events::Event;

use crate::bench::{Bench, frames, head, request, until};
use crate::pod::{parse, spec_json};

const FOLLOWED: [&str; 4] = [
    "GET /containers/web/logs?follow=1&stdout=1",
    "POST /containers/web/wait",
    "GET /events",
    "GET /containers/web/stats?stream=1",
];

fn with_stdin(cmd: &[&str]) -> Vec<Value> {
    let mut spec = spec_json("web", cmd);
    spec["process"]["stdin"] = json!(true);
    vec![spec]
}

#[test]
fn a_client_that_leaves_holds_nothing() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        for followed in FOLLOWED {
            let (method, target) = followed.split_once(' ').unwrap();
            let mut client = bench.connect();
            client.write_all(request(method, target, "", "").as_bytes()).await.unwrap();
            assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK"), "{followed}");
            drop(client);
            until(|| bench.server.connections() == 0).await;
        }
    });
}

#[test]
fn a_body_that_nobody_wants_hides_no_end() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        let mut client = bench.connect();
        client.write_all(request("POST", "/containers/web/wait", "", "{}").as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
        drop(client);
        until(|| bench.server.connections() == 0).await;
    });
}

#[test]
fn a_body_that_breaks_off_is_an_error() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        for (target, body) in
            [("GET /events", ""), ("POST /containers/web/wait", "x"), ("POST /containers/web/exec", "{")]
        {
            let mut client = bench.connect();
            let head = format!(
                "{target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
            );
            client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(parse(&answer).0, 400, "{target}");
            drop(client);
            until(|| bench.server.connections() == 0).await;
        }
    });
}

#[test]
fn an_answer_that_ends_by_itself_is_finished_for_a_client_that_says_no_more() {
    Bench::run(with_stdin(&["sh", "-c", "head -c 200000 /dev/zero; sleep 1000"]), async |bench| {
        let log = vdocker::Engine::containers(&*bench.engine)[0].log.clone();
        let (mut records, mut bytes) = (log.records(vdocker::log::From::Start), 0);
        while bytes < 200_000 {
            bytes += records.next().await.unwrap().bytes.len();
        }
        for (target, wanted) in
            [("/_ping", 2), ("/containers/web/json", 1000), ("/containers/web/logs?stdout=1", 100_000)]
        {
            let mut client = bench.connect();
            client.write_all(request("GET", target, "", "").as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(b"HTTP/1.1 200 OK") && answer.len() > wanted,
                "{target}: {}",
                answer.len()
            );
        }
    });
}

#[test]
fn requests_may_come_all_at_once() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        let mut client = bench.connect();
        let many = request("GET", "/_ping", "", "").repeat(50);
        client.write_all(many.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 50);
    });
}

#[test]
fn the_servers_end_gives_last_bytes_and_ends_all() {
    Bench::run(with_stdin(&["sh", "-c", "echo hello; cat"]), async |bench| {
        let log = vdocker::Engine::containers(&*bench.engine)[0].log.clone();
        log.records(vdocker::log::From::Start).next().await.unwrap();
        let mut idle = bench.connect();
        idle.write_all(request("GET", "/_ping", "", "").as_bytes()).await.unwrap();
        head(&mut idle).await;
        let mut follower = bench.connect();
        let logs = request("GET", "/containers/web/logs?follow=1&stdout=1", "", "");
        follower.write_all(logs.as_bytes()).await.unwrap();
        head(&mut follower).await;
        let mut attached = bench.hijack("POST", "/containers/web/attach?logs=1&stream=1&stdout=1", "").await;
        let mut waiting = bench.connect();
        waiting.write_all(request("POST", "/containers/web/wait", "", "").as_bytes()).await.unwrap();
        let wait_head = head(&mut waiting).await;
        let clients = async {
            let mut text = String::new();
            idle.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "OK");
            let mut lines = Vec::new();
            follower.read_to_end(&mut lines).await.unwrap();
            assert!(lines.ends_with(b"hello\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&lines));
            assert_eq!(frames(&mut attached).await.0, b"hello\n");
            let mut answer = wait_head.into_bytes();
            waiting.read_to_end(&mut answer).await.unwrap();
            assert!(parse(&answer).1.contains("StatusCode"));
            drop((idle, follower, attached, waiting));
        };
        let (is_closed, ()) = tokio::join!(bench.server.close(Duration::from_secs(20)), clients);
        assert!(is_closed);
    });
}

#[test]
fn the_last_events_are_told_at_the_servers_end() {
    Bench::run(with_stdin(&["cat"]), async |bench| {
        let mut client = bench.connect();
        client.write_all(request("GET", "/events", "", "").as_bytes()).await.unwrap();
        let mut answer = head(&mut client).await.into_bytes();
        let container = Rc::clone(&vdocker::Engine::containers(&*bench.engine)[0]);
        for _ in 0..100 {
            vdocker::Engine::events(&*bench.engine).push(Event::now(&container, "die", &[]));
        }
        let read = async {
            client.read_to_end(&mut answer).await.unwrap();
            drop(client);
        };
        let (is_closed, ()) = tokio::join!(bench.server.close(Duration::from_secs(20)), read);
        assert!(is_closed);
        assert_eq!(parse(&answer).1.matches("\"Action\":\"die\"").count(), 100);
    });
}

#[test]
fn following_ends_when_the_container_has_ended() {
    Bench::run(with_stdin(&["sh", "-c", "read line; echo last words"]), async |bench| {
        let mut follower = bench.connect();
        let logs = request("GET", "/containers/web/logs?follow=1&stdout=1", "Connection: close\r\n", "");
        follower.write_all(logs.as_bytes()).await.unwrap();
        head(&mut follower).await;
        let mut attached = bench.hijack("POST", "/containers/web/attach?stream=1&stdin=1", "").await;
        attached.write_all(b"\n").await.unwrap();
        let mut answer = Vec::new();
        follower.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"last words\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
    });
}
