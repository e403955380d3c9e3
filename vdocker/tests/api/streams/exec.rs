//! Exec: half-closes, dead clients and slow ones.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vdocker::Engine as _;

use crate::bench::{Bench, UPGRADE, frames, head, request, until};
use crate::pod::spec_json;

fn run(test: impl AsyncFnOnce(Bench)) {
    Bench::run(vec![spec_json("web", &["sleep", "1000"])], test);
}

#[test]
fn output_goes_on_after_a_half_close() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "sleep 0.1; echo out; echo err >&2; exit 5"], &[]).await;
        let mut client = bench.start(&id).await;
        client.shutdown().await.unwrap();
        let (stdout, stderr) = frames(&mut client).await;
        assert_eq!((&stdout[..], &stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        // The code is there as soon as the stream has ended.
        assert_eq!(bench.exit_code(&id).await, Some(5));
    });
}

#[test]
fn detach_keys_leave_the_program() {
    run(async |bench| {
        let wish =
            r#"{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true,"Tty":true,"DetachKeys":"ctrl-a,b"}"#;
        let (_, made) = bench.request("POST", "/containers/web/exec", wish).await;
        let id = serde_json::from_str::<serde_json::Value>(&made).unwrap()["Id"].as_str().unwrap().to_owned();
        let mut client = bench.hijack("POST", &format!("/exec/{id}/start"), r#"{"Tty":true}"#).await;
        client.write_all(b"typed\n\x01b").await.unwrap();
        let mut shown = Vec::new();
        client.read_to_end(&mut shown).await.unwrap();
        let (_, found) = bench.request("GET", &format!("/exec/{id}/json"), "").await;
        assert!(found.contains(r#""Running":true"#), "{found}");
        drop(client);
        until(|| bench.server.streams() == 0).await;
    });
}

#[test]
fn a_half_close_may_come_with_the_request() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "sleep 0.1; echo out"], &[]).await;
        let mut client = bench.connect();
        let start = request("POST", &format!("/exec/{id}/start"), UPGRADE, "{}");
        client.write_all(start.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(head(&mut client).await.contains("101 UPGRADED"));
        assert_eq!(frames(&mut client).await.0, b"out\n");
    });
}

#[test]
fn input_may_come_with_the_request() {
    run(async |bench| {
        let id = bench.exec(&["cat"], &[("AttachStdin", true)]).await;
        let mut client = bench.connect();
        let start = request("POST", &format!("/exec/{id}/start"), UPGRADE, "{}");
        client.write_all(format!("{start}early").as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        head(&mut client).await;
        assert_eq!(frames(&mut client).await.0, b"early");
    });
}

#[test]
fn without_an_upgrade_the_stream_follows_a_200() {
    run(async |bench| {
        let id = bench.exec(&["cat"], &[("AttachStdin", true)]).await;
        let mut client = bench.connect();
        let start = request("POST", &format!("/v1.24/exec/{id}/start"), "", r#"{"Tty":true}"#);
        client.write_all(start.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
            "{head}"
        );
        client.write_all(b"raw").await.unwrap();
        client.shutdown().await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"raw");
    });
}

#[test]
fn the_content_type_tells_of_frames_from_1_42_on() {
    run(async |bench| {
        for (version, tty, wanted) in [
            ("1.41", false, "raw-stream"),
            ("1.42", false, "multiplexed-stream"),
            ("1.42", true, "raw-stream"),
        ] {
            let id = bench.exec(&["true"], &[("Tty", tty)]).await;
            let mut client = bench.connect();
            let target = format!("/v{version}/exec/{id}/start");
            let start = request("POST", &target, UPGRADE, &format!(r#"{{"Tty":{tty}}}"#));
            client.write_all(start.as_bytes()).await.unwrap();
            let head = head(&mut client).await;
            assert!(
                head.contains(&format!("Content-Type: application/vnd.docker.{wanted}\r\n")),
                "{version}: {head}"
            );
        }
    });
}

#[test]
fn a_program_that_cannot_run_says_so_in_the_stream() {
    run(async |bench| {
        for (program, code, words) in
            [("no-such", 127, "executable file not found"), ("/etc", 126, "permission denied")]
        {
            let id = bench.exec(&[program], &[]).await;
            let mut client = bench.start(&id).await;
            let stdout = String::from_utf8(frames(&mut client).await.0).unwrap();
            assert!(stdout.contains(words) && stdout.ends_with("\r\n"), "{stdout}");
            assert_eq!(bench.exit_code(&id).await, Some(code));
        }
    });
}

#[test]
fn a_client_that_dies_unnoticed_is_noticed() {
    run(async |bench| {
        let waits = "until test -e done; do sleep 0.02; done; exit 4";
        let id = bench.exec(&["sh", "-c", waits], &[]).await;
        let mut client = bench.start(&id).await;
        client.shutdown().await.unwrap();
        assert_eq!(bench.server.streams(), 1);
        // Nothing is written that could fail.
        drop(client);
        until(|| bench.server.streams() == 0 && bench.server.connections() == 0).await;
        assert_eq!(bench.json(&format!("/exec/{id}/json")).await["Running"], true);
        let touch = bench.exec(&["touch", "done"], &[]).await;
        frames(&mut bench.start(&touch).await).await;
        while bench.exit_code(&id).await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.exit_code(&id).await, Some(4));
    });
}

#[test]
fn a_program_goes_on_writing_for_nobody() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "yes | head -c 20000000; exit 7"], &[]).await;
        let mut client = bench.start(&id).await;
        client.read_exact(&mut [0; 1000]).await.unwrap();
        drop(client);
        while bench.exit_code(&id).await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((bench.exit_code(&id).await, bench.server.streams()), (Some(7), 0));
    });
}

#[test]
fn a_client_that_goes_ends_the_input() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "cat; exit 3"], &[("AttachStdin", true)]).await;
        drop(bench.start(&id).await);
        while bench.exit_code(&id).await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.exit_code(&id).await, Some(3));
    });
}

#[test]
fn children_that_hold_the_streams_hold_no_client() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "until test -e done; do sleep 0.02; done & echo hi"], &[]).await;
        let mut client = bench.start(&id).await;
        assert_eq!(frames(&mut client).await.0, b"hi\n");
        assert_eq!(bench.exit_code(&id).await, Some(0));
        let touch = bench.exec(&["touch", "done"], &[]).await;
        frames(&mut bench.start(&touch).await).await;
    });
}

#[test]
fn a_program_that_closes_its_outputs_still_has_its_code() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 6"], &[]).await;
        frames(&mut bench.start(&id).await).await;
        assert_eq!(bench.exit_code(&id).await, Some(6));
    });
}

#[test]
fn a_slow_client_holds_its_own_exec_back_and_nothing_else() {
    const BYTES: usize = 256 << 20;
    run(async |bench| {
        let id = bench.exec(&["head", "-c", &BYTES.to_string(), "/dev/zero"], &[]).await;
        let mut client = bench.start(&id).await;
        client.readable().await.unwrap();
        let before = resident_bytes();
        // Others are served meanwhile, which gives the slow one's stream every chance to fill.
        for _ in 0..20 {
            let quick = bench.exec(&["echo", "quick"], &[]).await;
            assert_eq!(frames(&mut bench.start(&quick).await).await.0, b"quick\n");
        }
        assert!(bench.exit_code(&id).await.is_none(), "it waits for its client");
        assert!(resident_bytes() < before + (32 << 20), "{} grew to {}", before, resident_bytes());
        let (mut decoded, mut buffer) = (0, vec![0; 1 << 20]);
        let mut decoder = vdocker::stdcopy::Decoder::default();
        while let count @ 1.. = client.read(&mut buffer).await.unwrap() {
            let mut input = &buffer[..count];
            while let Some((_, bytes)) = decoder.decode(&mut input).unwrap() {
                decoded += bytes.len();
            }
        }
        assert_eq!((decoded, bench.exit_code(&id).await), (BYTES, Some(0)));
    });
}

/// What the test's process holds in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_second_start_is_refused() {
    run(async |bench| {
        let id = bench.exec(&["true"], &[]).await;
        frames(&mut bench.start(&id).await).await;
        let target = format!("/exec/{id}/start");
        let (status, body) = bench.request("POST", &target, "{}").await;
        assert!(status == 409 && body.contains("has already run"), "{status} {body}");
        let (status, body) = bench.request("POST", "/exec/nope/start", "{}").await;
        assert!(status == 404 && body.contains("No such exec instance: nope"), "{status} {body}");
    });
}

#[test]
fn events_tell_of_creation_start_and_end() {
    run(async |bench| {
        let id = bench.exec(&["sh", "-c", "exit 9"], &[]).await;
        frames(&mut bench.start(&id).await).await;
        let (kept, _) = vdocker::Engine::events(&*bench.engine).subscribe();
        let of_exec: Vec<_> = kept.iter().filter(|event| event.attribute("execID") == Some(&id)).collect();
        let actions: Vec<_> = of_exec.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["exec_create: sh -c exit 9", "exec_start: sh -c exit 9", "exec_die"]);
        assert_eq!(of_exec[2].attribute("exitCode"), Some("9"));
    });
}

#[test]
fn an_exec_without_a_stream_is_not_taken_for_one_that_runs() {
    run(async |bench| {
        let mut attached = Vec::new();
        for _ in 0..vdocker::server::MAX_STREAMS {
            attached.push(bench.hijack("POST", "/containers/web/attach?stream=1&stdout=1", "").await);
        }
        let id = bench.exec(&["echo", "out"], &[]).await;
        let (status, body) = bench.request("POST", &format!("/exec/{id}/start"), "{}").await;
        assert!(status == 503 && body.contains("too many attached streams"), "{status} {body}");
        assert_eq!(bench.json(&format!("/exec/{id}/json")).await["Running"], false);
        drop(attached);
        until(|| bench.server.streams() == 0).await;
        assert_eq!(frames(&mut bench.start(&id).await).await.0, b"out\n");
    });
}

#[test]
fn a_container_that_has_just_ended_is_a_conflict() {
    run(async |bench| {
        let id = bench.exec(&["true"], &[]).await;
        // Its state says later that it has ended.
        bench.engine.lose(&bench.engine.containers()[0]);
        for body in ["{}", r#"{"Detach":true}"#] {
            let (status, answer) = bench.request("POST", &format!("/exec/{id}/start"), body).await;
            assert!(status == 409 && answer.contains("is not running"), "{status} {answer}");
            let state = bench.json(&format!("/exec/{id}/json")).await;
            assert_eq!((&state["Running"], &state["ExitCode"]), (&false.into(), &serde_json::Value::Null));
        }
    });
}

#[test]
fn a_start_that_is_held_up_keeps_no_stream_for_a_client_that_goes() {
    run(async |bench| {
        let id = bench.exec(&["held-up", "sh", "-c", "yes | head -c 1000000; exit 5"], &[]).await;
        let mut client = bench.start(&id).await;
        client.shutdown().await.unwrap();
        assert_eq!(bench.server.streams(), 1);
        drop(client);
        until(|| bench.server.streams() == 0 && bench.server.connections() == 0).await;
        assert_eq!(bench.json(&format!("/exec/{id}/json")).await["Running"], true);
        bench.engine.held_up.notify_one();
        while bench.exit_code(&id).await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.exit_code(&id).await, Some(5));
    });
}
