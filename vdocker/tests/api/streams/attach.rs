//! Attach: what comes when, and who ends what.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vdocker::Engine;

use crate::bench::{Bench, frames, until};
use crate::pod::spec_json;

const ALL: &str = "/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1";

fn with_stdin(cmd: &[&str]) -> Vec<Value> {
    let mut spec = spec_json("web", cmd);
    spec["process"]["stdin"] = json!(true);
    vec![spec]
}

#[test]
fn the_end_of_the_input_is_not_the_end_of_the_output() {
    Bench::run(with_stdin(&["sh", "-c", "cat; sleep 0.1; echo late"]), async |bench| {
        let mut client = bench.hijack("POST", ALL, "").await;
        client.write_all(b"early\n").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(frames(&mut client).await.0, b"early\nlate\n");
        until(|| bench.server.streams() == 0).await;
    });
}

#[test]
fn the_containers_end_ends_a_client_that_still_could_send() {
    Bench::run(with_stdin(&["sh", "-c", "read line; echo $line"]), async |bench| {
        let mut client = bench.hijack("POST", ALL, "").await;
        client.write_all(b"bye\nand more that nobody reads\n").await.unwrap();
        assert_eq!(frames(&mut client).await.0, b"bye\n");
        // Its own side is open until now.
        drop(client);
        until(|| bench.server.connections() == 0).await;
    });
}

#[test]
fn detach_keys_leave_a_terminal_and_its_program() {
    let mut spec = spec_json("web", &["cat"]);
    (spec["process"]["stdin"], spec["process"]["tty"]) = (json!(true), json!(true));
    Bench::run(vec![spec], async |bench| {
        for (query, keys) in [("", &[0x10_u8, 0x11][..]), ("&detachKeys=ctrl-x,y", b"\x18y")] {
            let mut client = bench.hijack("POST", &format!("{ALL}{query}"), "").await;
            client.write_all(b"typed\n").await.unwrap();
            client.write_all(keys).await.unwrap();
            let mut shown = Vec::new();
            client.read_to_end(&mut shown).await.unwrap();
            assert!(!shown.ends_with(keys), "{query}: {}", shown.escape_ascii());
        }
        let wrong = bench.request("POST", &format!("{ALL}&detachKeys=ctrl-1"), "").await;
        assert_eq!(wrong.0, 400, "{}", wrong.1);
        until(|| bench.server.streams() == 0).await;
        assert!(bench.engine.containers()[0].state.borrow().is_running());
    });
}

#[test]
fn a_watcher_that_dies_unnoticed_is_noticed() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        let mut client = bench.hijack("POST", "/containers/web/attach?stream=1&stdout=1", "").await;
        client.shutdown().await.unwrap();
        drop(client);
        until(|| bench.server.connections() == 0).await;
    });
}

#[test]
fn logs_come_first_and_only_the_streams_that_are_wanted() {
    Bench::run(with_stdin(&["sh", "-c", "echo old; echo err >&2; read line; echo new"]), async |bench| {
        let log = bench.engine.containers()[0].log.clone();
        let mut records = log.records(vdocker::log::From::Start);
        for _ in 0..2 {
            records.next().await.unwrap();
        }
        let past = "/containers/web/attach?logs=1&stdout=1&stderr=1";
        let (stdout, stderr) = frames(&mut bench.hijack("POST", past, "").await).await;
        assert_eq!((&stdout[..], &stderr[..]), (&b"old\n"[..], &b"err\n"[..]));
        let both = "/containers/web/attach?logs=1&stream=1&stdin=1&stdout=1";
        let mut client = bench.hijack("POST", both, "").await;
        client.write_all(b"\n").await.unwrap();
        let (stdout, stderr) = frames(&mut client).await;
        assert_eq!((&stdout[..], &stderr[..]), (&b"old\nnew\n"[..], &b""[..]));
    });
}

#[test]
fn neither_logs_nor_stream_is_nothing() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        let mut client = bench.hijack("POST", "/containers/web/attach?stdout=1", "").await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn who_attaches_to_a_stopped_container_gets_its_next_run() {
    Bench::run(with_stdin(&["sh", "-c", "cat; exit 3"]), async |bench| {
        let mut first = bench.hijack("POST", ALL, "").await;
        first.shutdown().await.unwrap();
        frames(&mut first).await;
        let mut client = bench.hijack("POST", ALL, "").await;
        client.write_all(b"before the start").await.unwrap();
        client.shutdown().await.unwrap();
        let (status, _) = bench.request("POST", "/containers/web/start", "").await;
        assert_eq!(status, 204);
        assert_eq!(frames(&mut client).await.0, b"before the start");
    });
}

#[test]
fn a_frozen_container_is_refused() {
    Bench::run(with_stdin(&["sleep", "1000"]), async |bench| {
        assert_eq!(bench.request("POST", "/containers/web/pause", "").await.0, 204);
        let (status, body) = bench.request("POST", ALL, "").await;
        assert!(status == 409 && body.contains("unpause the container before attach"), "{status} {body}");
        assert_eq!(bench.request("POST", "/containers/web/unpause", "").await.0, 204);
    });
}

#[test]
fn a_run_is_attached_to_from_its_beginning_also_after_its_end() {
    const RUN: &str = "/containers/web/attach?run=1&stream=1&stdin=1&stdout=1&stderr=1";
    let script = "echo begin; echo error >&2; seq 40000; read line; echo $line";
    Bench::run(with_stdin(&["sh", "-c", script]), async |bench| {
        let log = bench.engine.containers()[0].log.clone();
        let numbers: String = (1..=40_000).map(|number| format!("{number}\n")).collect();
        for (run, word) in ["first", "second"].into_iter().enumerate() {
            // It has written when the client comes.
            let mut written = log.records(vdocker::log::From::Run(log.run()));
            while !written.next().await.unwrap().bytes.ends_with(b"\n40000\n") {}
            let mut client = bench.hijack("POST", RUN, "").await;
            let mut other = bench.hijack("POST", RUN, "").await;
            other.write_all(format!("{word}\n").as_bytes()).await.unwrap();
            let wanted = (format!("begin\n{numbers}{word}\n").into_bytes(), b"error\n".to_vec());
            assert!(frames(&mut client).await == wanted, "run {run}, while it runs");
            // It has ended.
            let mut client = bench.hijack("POST", RUN, "").await;
            assert!(frames(&mut client).await == wanted, "run {run}, after its end");
            let mut stopped = bench.hijack("POST", "/containers/web/attach?run=1&stderr=1", "").await;
            assert_eq!(frames(&mut stopped).await.1, b"error\n");
            assert_eq!(bench.request("POST", "/containers/web/start", "").await.0, 204);
        }
    });
}

#[test]
fn a_slow_client_gets_its_run_and_nothing_of_the_next() {
    Bench::run(vec![spec_json("web", &["sh", "-c", "seq 300000; echo end"])], async |bench| {
        let mut client = bench.hijack("POST", "/containers/web/attach?run=1&stream=1&stdout=1", "").await;
        for _ in 0..3 {
            bench.request("POST", "/containers/web/wait", "").await;
            assert_eq!(bench.request("POST", "/containers/web/start", "").await.0, 204);
        }
        let wanted: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
        assert!(frames(&mut client).await.0 == (wanted + "end\n").into_bytes());
    });
}

#[test]
fn an_input_that_is_kept_open_is_there_for_the_next_client() {
    let mut specs = with_stdin(&["sh", "-c", "read one; read two; echo $one $two"]);
    specs[0]["process"]["stdinOnce"] = json!(false);
    Bench::run(specs, async |bench| {
        let config = bench.json("/containers/web/json").await["Config"].clone();
        assert_eq!((&config["OpenStdin"], &config["StdinOnce"]), (&json!(true), &json!(false)));
        let mut first = bench.hijack("POST", ALL, "").await;
        first.write_all(b"one\n").await.unwrap();
        first.shutdown().await.unwrap();
        drop(first);
        until(|| bench.server.streams() == 0).await;
        let mut second = bench.hijack("POST", ALL, "").await;
        second.write_all(b"two\n").await.unwrap();
        assert_eq!(frames(&mut second).await.0, b"one two\n");
    });
}
