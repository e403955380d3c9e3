//! Many at once: side by side, and too many.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;
use vdocker::server::{MAX_CONNECTIONS, MAX_STREAMS};

use crate::bench::{Bench, frames, head, request, until};
use crate::pod::{parse, spec_json};

fn run(test: impl AsyncFnOnce(Bench)) {
    Bench::run(vec![spec_json("web", &["sleep", "1000"])], test);
}

#[test]
fn fifty_execs_side_by_side() {
    run(async |bench| {
        let mut clients = Vec::new();
        for n in 0..50 {
            let id = bench.exec(&["sh", "-c", &format!("echo {n}; exit {n}")], &[]).await;
            let mut client = bench.start(&id).await;
            clients.push((n, id, spawn_local(async move { frames(&mut client).await })));
        }
        for (n, id, client) in clients {
            assert_eq!(client.await.unwrap().0, format!("{n}\n").as_bytes());
            assert_eq!(bench.exit_code(&id).await, Some(n));
        }
        until(|| bench.server.streams() == 0).await;
    });
}

#[test]
fn too_many_connections_are_told_so() {
    run(async |bench| {
        let clients: Vec<_> = (0..MAX_CONNECTIONS).map(|_| bench.connect()).collect();
        until(|| bench.server.connections() == MAX_CONNECTIONS).await;
        let mut answer = Vec::new();
        bench.connect().read_to_end(&mut answer).await.unwrap();
        let (status, body) = parse(&answer);
        assert!(status == 503 && body.contains("too many connections"), "{status} {body}");
        drop(clients);
        until(|| bench.server.connections() == 0).await;
        assert_eq!(bench.request("GET", "/_ping", "").await, (200, "OK".into()));
    });
}

#[test]
fn too_many_streams_are_told_so() {
    run(async |bench| {
        let target = "/containers/web/attach?stream=1&stdout=1";
        let mut clients = Vec::new();
        for _ in 0..MAX_STREAMS {
            clients.push(bench.hijack("POST", target, "").await);
        }
        let (status, body) = bench.request("POST", target, "").await;
        assert!(status == 503 && body.contains("too many"), "{status} {body}");
        drop(clients);
        until(|| bench.server.streams() == 0).await;
        bench.hijack("POST", target, "").await;
    });
}

#[test]
fn a_body_over_the_limit_is_refused_and_hurts_nobody() {
    run(async |bench| {
        let huge = format!(r#"{{"Cmd":["{}"]}}"#, "x".repeat(5 << 20));
        let (status, body) = bench.request("POST", "/containers/web/exec", &huge).await;
        assert!(status == 400 && body.contains("request body too large"), "{status} {body}");
        assert_eq!(bench.request("GET", "/_ping", "").await.0, 200);
    });
}

#[test]
fn who_has_connected_before_the_end_is_answered_once_more() {
    run(async |bench| {
        let (mut late, mut idle, mut silent) = (bench.connect(), bench.connect(), bench.connect());
        let ping = request("GET", "/_ping", "", "");
        idle.write_all(ping.as_bytes()).await.unwrap();
        head(&mut idle).await;
        let asked = async {
            // The server has been asked to end when this one's end is seen.
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.unwrap();
            late.write_all(ping.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            late.read_to_end(&mut answer).await.unwrap();
            let again = parse(&answer);
            drop(late);
            assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
            drop((silent, idle));
            again
        };
        let (closed, answer) = tokio::join!(bench.server.close(Duration::from_secs(60)), asked);
        assert_eq!((closed, answer), (true, (200, "OK".into())));
    });
}

#[test]
fn an_end_waits_for_a_connection_that_has_had_no_turn_yet() {
    run(async |bench| {
        let mut late = bench.connect();
        let asked = async {
            late.write_all(request("GET", "/_ping", "", "").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            late.read_to_end(&mut answer).await.unwrap();
            parse(&answer)
        };
        let answer = tokio::select! {
            biased;
            _closed = bench.server.close(Duration::from_secs(60)) => panic!("nobody waits for the answer"),
            answer = asked => answer,
        };
        assert_eq!(answer, (200, "OK".into()));
    });
}
