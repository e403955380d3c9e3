//! Answers of a server that plays a pod: well-formed, cut, lying and endless.

use std::io::{BufRead as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;

/// Sends a request to a server that reads until it has seen `wait_for` and then answers.
fn exchange(
    upload: Upload<'_>,
    wait_for: &'static [u8],
    answer: &[u8],
) -> (Result<Response, ApiError>, thread::JoinHandle<Vec<u8>>) {
    let (near, far) = UnixStream::pair().unwrap();
    let answer = answer.to_vec();
    let server = thread::spawn(move || {
        let mut far = far;
        let mut seen = Vec::new();
        let mut buffer = [0; 1000];
        while !seen.windows(wait_for.len()).any(|window| window == wait_for) {
            match far.read(&mut buffer).unwrap() {
                0 => break,
                count => seen.extend_from_slice(&buffer[..count]),
            }
        }
        for piece in answer.chunks(7) {
            let _ = far.write_all(piece);
        }
        seen
    });
    let response = Connection::new(near).request("GET", "/x", upload).and_then(checked);
    (response, server)
}

fn answer(text: &str) -> Result<(u16, String), String> {
    let (response, _) = exchange(Upload::None, b"\r\n\r\n", text.as_bytes());
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let mut body = String::new();
    response.into_body().read_to_string(&mut body).map_err(|error| error.to_string())?;
    Ok((status, body))
}

#[test]
fn bodies_end_as_their_heads_say() {
    let body = |text: &str| Ok((200, text.to_owned()));
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more"), body("hello"));
    assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\nto the end"), body("to the end"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = "3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nField: x\r\n\r\nmore";
    assert_eq!(answer(&format!("{chunked}{chunks}")), body("abc0123456789"));
    assert_eq!(
        answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nx"),
        Ok((204, String::new()))
    );
}

#[test]
fn what_is_cut_or_malformed_is_an_error() {
    for (text, message) in [
        ("", "the pod ended before it answered"),
        ("HTTP/1.1 200", "the pod ended before it answered"),
        ("SSH-2.0-x\r\n\r\n", "malformed: no HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "a length that is no number"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a length that is no number"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "the pod ended within its answer"),
    ] {
        let error = answer(text).unwrap_err();
        assert!(error.contains(message), "{text:?}: {error}");
    }
    for chunks in [
        "",
        "3\r\nab",
        "3\r\nabc",
        "3\r\nabcd\r\n",
        "x\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n",
        "\r\n",
        "fffffffffffffffff\r\nabc",
        "0\r\n",
        "ffffffffffffffff\r\nabc",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert!(answer(&text).is_err(), "{chunks:?}");
    }
}

#[test]
fn endless_heads_lines_and_trailers_are_cut() {
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000));
    assert!(answer(&endless).is_err());
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(1000);
    assert!(answer(&format!("{interim}HTTP/1.1 200 OK\r\n\r\n")).unwrap_err().contains("interim"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(
        answer(&format!("{chunked}{}", "0".repeat(10_000))).unwrap_err().contains("a line without an end")
    );
    assert!(answer(&format!("{chunked}0\r\n{}", "A: b\r\n".repeat(200))).unwrap_err().contains("too many"));
}

#[test]
fn a_refusal_is_told_in_the_apis_words() {
    let refused =
        answer("HTTP/1.1 404 Not Found\r\nContent-Length: 32\r\n\r\n{\"message\":\"No such container\"}  ");
    assert_eq!(refused.unwrap_err(), "No such container");
    let refused = answer("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\n???");
    assert_eq!(refused.unwrap_err(), "the pod answered with status 500");
}

#[test]
fn an_upgraded_connection_is_a_stream_both_ways() {
    let (response, seen) =
        exchange(Upload::Upgrade(b"{}".to_vec()), b"{}", b"HTTP/1.1 101 UPGRADED\r\n\r\nbytes");
    let seen = String::from_utf8(seen.join().unwrap()).unwrap();
    assert!(seen.contains("Connection: Upgrade\r\nUpgrade: tcp\r\n"));
    let mut stream = response.unwrap().into_stream().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bytes");
    let (response, _) = exchange(Upload::Upgrade(vec![]), b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(response.unwrap().into_stream().is_none());
}

#[test]
fn an_archive_goes_in_chunks_and_an_early_answer_is_heard() {
    let mut archive = &b"0123456789"[..];
    let (response, seen) = exchange(
        Upload::Archive(&mut archive),
        b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(response.is_ok() && seen.join().unwrap().ends_with(b"0000000a\r\n0123456789\r\n0\r\n\r\n"));

    // A server that has heard enough, of an archive without an end.
    let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\n\r\n{\"message\":\"read-only\"}";
    let (response, _) = exchange(Upload::Archive(&mut std::io::repeat(0)), b"\r\n\r\n", refusal);
    assert!(matches!(response, Err(ApiError::Refused { status: 403, message }) if message.len() > 3));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let (response, _) = exchange(Upload::Archive(&mut Broken), b"no such text", b"");
    assert!(matches!(response, Err(ApiError::Source(_))));
}

#[test]
fn lines_of_a_body_can_be_read_one_by_one() {
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n1\r\nc\r\n0\r\n\r\n";
    let (response, _) = exchange(Upload::None, b"\r\n\r\n", text);
    let lines: Vec<_> = response.unwrap().into_body().lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["a", "b", "c"]);
}
