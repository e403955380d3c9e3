//! Requests that no client would send: whatever comes, the answer is an error, and the next client is served.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::pod::{Pod, parse};

fn pod() -> Pod {
    Pod::of(&["sleep", "1000"])
}

/// Nobody is hurt by what was sent before.
#[track_caller]
fn still_serves(pod: &Pod) {
    assert_eq!(pod.request("GET", "/_ping", ""), (200, "OK".into()));
}

#[test]
fn broken_requests_are_refused() {
    let pod = pod();
    for request in [
        &b"\r\n\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /_ping HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /containers/web/kill HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
    ] {
        let (status, _) = parse(&pod.exchange_and_end(request));
        assert!(
            status == 0 || (400..500).contains(&status),
            "{status} for {:?}",
            String::from_utf8_lossy(request)
        );
        still_serves(&pod);
    }
}

#[test]
fn huge_heads_are_refused() {
    let pod = pod();
    let long = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /_ping HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    for request in [long, many, path] {
        let (status, _) = parse(&pod.exchange(request.as_bytes()));
        assert!(status == 0 || (400..500).contains(&status), "{status}");
        still_serves(&pod);
    }
}

#[test]
fn broken_chunks_are_refused() {
    let pod = pod();
    let head = "POST /containers/web/update HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n", "fffffffffffffffff\r\n", "2\r\n{}x", "-1\r\n", "5\r\n{}"] {
        let (status, _) = parse(&pod.exchange_and_end(format!("{head}{body}").as_bytes()));
        assert!(status == 0 || status == 400, "{status} for {body:?}");
        still_serves(&pod);
    }
}

#[test]
fn json_is_checked() {
    let pod = pod();
    let deep = "[".repeat(100_000);
    let deep_object = r#"{"a":"#.repeat(100_000);
    for body in [
        "{",
        "[]",
        "1",
        r#"{"Memory":"much"}"#,
        r#"{"Memory":1e99}"#,
        r#"{"Memory":1.5}"#,
        &deep,
        &deep_object,
    ] {
        let (status, answer) = pod.request("POST", "/containers/web/update", body);
        assert_eq!(status, 400, "{answer} for {}", &body[..body.len().min(20)]);
        assert!(answer.starts_with("{\"message\":"), "{answer}");
    }
    let large = format!(r#"{{"X":"{}"}}"#, "x".repeat(8 << 20));
    let (status, _) = pod.request("POST", "/containers/web/update", &large);
    assert!(status == 400 || status == 0, "{status}");
    still_serves(&pod);
}

#[test]
fn odd_parameters_are_refused() {
    let pod = pod();
    for (method, target) in [
        ("POST", "/containers/web/resize?h=-1&w=80"),
        ("POST", "/containers/web/resize?h=99999999999999999999&w=80"),
        ("POST", "/containers/web/resize?h=4294967296&w=80"),
        ("POST", "/containers/web/resize"),
        ("POST", "/containers/web/stop?t=x"),
        ("POST", "/containers/web/stop?signal=WHAT"),
        ("POST", "/containers/web/kill?signal=-9"),
        ("POST", "/containers/web/kill?signal=4294967305"),
        ("POST", "/containers/web/wait?condition=never"),
        ("GET", "/containers/web/stats?stream=1&one-shot=1"),
        ("GET", "/containers/web/top?ps_args=%3Breboot"),
        ("GET", "/containers/json?limit=many"),
        ("GET", "/containers/json?filters=%7B"),
        ("GET", "/containers/json?filters=%ZZ"),
        ("GET", "/containers/json?all=%FF"),
        ("GET", "/events?since=yesterday"),
        ("GET", "/containers/web/archive?path="),
        ("GET", "/containers/web/archive?path=%2Fa%00b"),
    ] {
        let (status, answer) = pod.request(method, target, "");
        assert!(status == 400 && answer.starts_with("{\"message\":"), "{status} {answer} for {target}");
    }
    still_serves(&pod);
}

#[test]
fn unknown_paths_are_not_found() {
    let pod = pod();
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1.50"),
        ("GET", "/v1.50/"),
        ("GET", "/containers"),
        ("GET", "/containers/web"),
        ("GET", "/containers//json"),
        ("GET", "/containers/nobody/json"),
        ("GET", "/containers/..%2f..%2fetc/json"),
        ("GET", "/images/busybox/json"),
        ("DELETE", "/containers/nobody"),
        ("PATCH", "/containers/web/json"),
    ] {
        let (status, answer) = pod.request(method, target, "");
        assert!(
            status == 404 && answer.starts_with("{\"message\":"),
            "{status} {answer} for {method} {target}"
        );
    }
}

#[test]
fn answers_have_dockers_forms() {
    let pod = pod();
    assert_eq!(pod.request("POST", "/containers/web/start", ""), (304, String::new()));
    assert_eq!(pod.request("POST", "/v1.41/containers/web/kill?signal=WINCH", ""), (204, String::new()));
    assert_eq!(pod.request("GET", "/plugins", ""), (200, "[]\n".into()));
    // The network that containers name is there, alone.
    let network = pod.json("/networks/host");
    assert_eq!(pod.json("/networks"), serde_json::json!([network]));
    let endpoint = &pod.json("/containers/web/json")["NetworkSettings"]["Networks"]["host"];
    assert!(network["Name"] == "host" && endpoint["NetworkID"] == network["Id"], "{network} {endpoint}");
    assert_eq!(pod.request("GET", "/networks/bridge", "").0, 404);
    assert_eq!(pod.request("GET", "/containers/web/changes", ""), (200, "null\n".into()));
    assert_eq!(pod.json("/containers/json?filters={%22name%22:[%22web%22]}")[0]["Names"][0], "/web");
    let one_shot = pod.json("/containers/web/stats?stream=0&one-shot=1");
    assert!(
        one_shot["precpu_stats"]["cpu_usage"]["total_usage"] == 0
            && one_shot["cpu_stats"]["online_cpus"] == 2
    );
    assert!(one_shot.get("networks").is_none());
}

#[test]
fn many_requests_go_through_one_connection() {
    let pod = pod();
    let mut requests = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n".repeat(99);
    requests += "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = String::from_utf8(pod.exchange(requests.as_bytes())).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 100);
}

#[test]
fn clients_that_leave_are_forgotten() {
    let pod = pod();
    for target in ["/events", "/containers/web/stats", "/containers/web/logs?stdout=1&follow=1"] {
        for _ in 0..50 {
            let mut client = UnixStream::connect(pod.socket()).unwrap();
            client.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        }
    }
    for _ in 0..50 {
        let mut client = UnixStream::connect(pod.socket()).unwrap();
        client.write_all(b"POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    // More than the server takes at a time have come and gone.
    for _ in 0..100 {
        let mut client = UnixStream::connect(pod.socket()).unwrap();
        client.write_all(b"GET /containers/web/json HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    while pod.request("GET", "/_ping", "").0 != 200 {
        std::thread::yield_now();
    }
    assert!(pod.end(false).closed, "no connection is left");
}

#[test]
fn a_wait_has_its_head_at_once_and_its_body_at_the_end_of_the_pod() {
    let pod = pod();
    let mut client = UnixStream::connect(pod.socket()).unwrap();
    let request =
        b"POST /v1.50/containers/web/wait?condition=removed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(pod.request("POST", "/cradle/shutdown?reason=enough", ""), (204, String::new()));
    let mut body = Vec::new();
    client.read_to_end(&mut body).unwrap();
    assert_eq!(parse(&[head, body].concat()), (200, "{\"StatusCode\":137}\n".into()));
    drop(client);
    assert!(pod.end(true).closed);
}

#[test]
fn execs_that_run_are_told_of() {
    let pod = pod();
    let execs = || pod.json("/containers/web/json")["ExecIDs"].clone();
    assert!(execs().is_null());
    let (status, created) = pod.request("POST", "/containers/web/exec", r#"{"Cmd":["sleep","1000"]}"#);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let id = created["Id"].as_str().unwrap();
    assert_eq!((status, id.len()), (201, 64));
    assert_eq!(pod.request("POST", &format!("/exec/{id}/start"), r#"{"Detach":true}"#).0, 200);
    assert_eq!(execs(), serde_json::json!([id]));
    assert_eq!(pod.json(&format!("/exec/{id}/json"))["Running"], true);
}
