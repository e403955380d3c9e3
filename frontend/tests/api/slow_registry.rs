//! A registry that takes its time, so that something can happen within a transfer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tests::Registry;

/// Stands before a registry and lets large answers out a byte at a time. Tells when it begins with one, and when whoever
/// reads it has gone.
pub(crate) fn slow(registry: &Registry) -> (String, Receiver<()>, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (begins, has_begun) = channel();
    let (ends, has_ended) = channel();
    let behind = registry.host().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (behind, begins, ends) = (behind.clone(), begins.clone(), ends.clone());
            std::thread::spawn(move || {
                let Some((mut stream, answer)) = answer_of(stream.unwrap(), &behind) else { return };
                if answer.len() < 100_000 {
                    let _ = stream.write_all(&answer);
                    return;
                }
                stream.set_nodelay(true).unwrap();
                stream.write_all(&answer[..2000]).unwrap();
                begins.send(()).unwrap();
                for byte in &answer[2000..] {
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                ends.send(()).unwrap();
            });
        }
    });
    (host, has_begun, has_ended)
}

/// What a server answers to a request that comes on a stream; `None` for no request of HTTP.
fn answer_of(stream: TcpStream, behind: &str) -> Option<(TcpStream, Vec<u8>)> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut head = lines.next()?.ok()?;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head += &format!("\r\n{line}");
        }
    }
    let mut server = TcpStream::connect(behind).unwrap();
    write!(server, "{head}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    Some((stream, answer))
}
