//! What clients should not send: wrong types, deep and huge bodies, halves of requests, crowds, and names that are paths.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use crate::host::Host;

#[test]
fn bodies_that_are_not_what_they_should_be_are_refused() {
    let host = Host::start();
    let deep = [vec![b'['; 200_000], vec![b']'; 200_000]].concat();
    let deep_field = format!(r#"{{"Labels":{}"x"{}}}"#, r#"{"a":"#.repeat(50_000), "}".repeat(50_000));
    let huge = format!(r#"{{"Name":"{}"}}"#, "x".repeat(8 << 20));
    for path in ["volumes/create", "networks/create", "containers/create", "networks/bridge/connect"] {
        for body in [
            &b"[]"[..],
            b"7",
            b"\"text\"",
            b"{",
            b"{\"Name\":7}x",
            br#"{"Name":{"a":1},"Image":7,"Container":[]}"#,
            br#"{"Name":"ab","Labels":["a"],"Container":{}}"#,
            b"\xff\xfe",
            &deep,
            deep_field.as_bytes(),
            huge.as_bytes(),
        ] {
            let (code, answer) = host.ask(&format!("POST /v1.50/{path}"), body);
            // What a route does not look at may be anything: then there is no such container.
            let is_refused = code == 400 || (code == 404 && path.ends_with("connect"));
            assert!(is_refused, "{path}: {}: {answer}", body[..body.len().min(60)].escape_ascii());
            assert!(answer.contains("{\"message\":"), "{path}: {answer}");
        }
    }
    assert_eq!(host.good(&["volume", "ls", "-q"]), "");
}

#[test]
fn a_name_is_never_a_path() {
    let host = Host::start();
    std::fs::write(host.path("precious"), "precious").unwrap();
    let tricks =
        ["..", ".", "../precious", "/etc/passwd", "a/../../precious", "a\\u0000b", "a\\nb", "", " ", "-x"];
    for name in tricks.iter().filter(|name| !name.is_empty()) {
        let body = format!(r#"{{"Name":"{name}"}}"#);
        let (code, answer) = host.ask("POST /volumes/create", body.as_bytes());
        assert_eq!(code, 400, "{name}: {answer}");
    }
    for name in ["..", "%2e%2e", "..%2fprecious", "%2e%2e%2fprecious", "a%00b", "%ff", "%zz"] {
        for path in ["volumes", "networks", "containers"] {
            let (code, answer) = host.ask(&format!("DELETE /{path}/{name}"), b"");
            assert!(matches!(code, 400 | 404), "{path} {name}: {answer}");
        }
    }
    assert_eq!(std::fs::read_to_string(host.path("precious")).unwrap(), "precious");
}

#[test]
fn crowds_and_slow_clients_leave_room_for_others() {
    let host = Host::start();
    // More than a guest takes; the test itself has one end of each.
    let (maximum, limit) = (rustix::process::Resource::Nofile, 4096);
    let now = rustix::process::getrlimit(maximum);
    let raised = rustix::process::Rlimit {
        current: now.maximum.map_or(Some(limit), |most| Some(most.min(limit))),
        ..now
    };
    rustix::process::setrlimit(maximum, raised).unwrap();
    let crowd: Vec<_> = (0..1000)
        .map(|number| {
            let mut client = UnixStream::connect(host.socket()).unwrap();
            let half = if number % 2 == 0 {
                ""
            } else {
                "POST /volumes/create HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"
            };
            client.write_all(half.as_bytes()).unwrap();
            client
        })
        .collect();
    assert_eq!(host.ask("GET /_ping", b"").0, 200);
    assert_eq!(host.good(&["volume", "create", "data"]), "data");
    drop(crowd);
    assert_eq!(host.ask("GET /_ping", b"").0, 200);
}
