//! Answers with anything in them (docs/testing.md, "Fuzzing"): they end, within limits, and however they are cut by
//! reads they mean the same.

use std::io::{BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use ::fuzz::{Fuzz, shape};

use super::{Connection, Upload};

/// What an answer was: status, whether a stream followed, its body, whether it ended well; or the error.
type Made = Result<(u16, bool, Vec<u8>, bool), String>;

/// Reads an answer through a buffer of so many bytes.
fn read(input: &[u8], method: &str, buffer: usize) -> Made {
    let (near, mut far) = UnixStream::pair().expect("sockets can be made");
    // A socket takes more than the longest input before anybody reads.
    far.write_all(input).expect("there is room");
    far.shutdown(Shutdown::Write).expect("it is open");
    let connection = Connection { stream: BufReader::with_capacity(buffer, near) };
    let response = connection.request(method, "/x", Upload::None).map_err(|error| error.to_string())?;
    let status = response.status();
    let mut body = Vec::new();
    let (is_stream, ended) = match status {
        101 => (true, response.into_stream().expect("101").read_to_end(&mut body).is_ok()),
        _ => (false, response.into_body().read_to_end(&mut body).is_ok()),
    };
    Ok((status, is_stream, body, ended))
}

#[test]
fn answers() {
    let seeds: [&[u8]; 9] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nField: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: eyJuYW1lIjoiYSJ9\r\n\r\nto the end",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n\x01\0\0\0\0\0\0\x02hi",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 32\r\n\r\n{\"message\":\"No such container\"}  ",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 18446744073709551615\n\nx",
    ];
    let words = [
        "HTTP/1.1 100 \r\n\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "\r\n\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        ";",
    ];
    Fuzz::new("answers", seeds).words(words).run(|input| {
        let method = if input.len() % 7 == 0 { "HEAD" } else { "GET" };
        let made = read(input, method, super::BUFFER);
        assert_eq!(made, read(input, method, 1 + input.len() % 13));
        if let Ok((_, _, body, _)) = &made {
            assert!(body.len() <= input.len());
        }
        shape(made.map(|(status, is_stream, body, ended)| (status, is_stream, body.len().min(16), ended)))
    });
}
