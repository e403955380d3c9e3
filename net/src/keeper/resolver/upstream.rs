//! Queries that go on to other resolvers: the host's as its resolv.conf names them, or those that a pod was given. Each has
//! a socket of its own, connected to the resolver, and a random number.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::Query;

/// How long a resolver is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most resolvers that are asked, as in resolv.conf(5).
const MOST_RESOLVERS: usize = 3;
/// The largest datagram.
const LARGEST: usize = 65535;
/// A host's list of resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The host's resolvers. This process is where the host's programs are, so those on loopback are as good.
pub(super) fn of_host() -> Vec<IpAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let found = parse(&text);
    if found.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { found }
}

fn parse(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

/// The first answer of these resolvers.
pub(super) async fn ask(query: &Query, message: &[u8], resolvers: &[IpAddr], tcp: bool) -> Option<Vec<u8>> {
    for resolver in resolvers.iter().take(MOST_RESOLVERS) {
        let at = SocketAddr::new(*resolver, 53);
        let answer = async {
            if tcp { over_tcp(query, message, at).await } else { over_udp(query, message, at).await }
        };
        if let Ok(Ok(answer)) = timeout(PATIENCE, answer).await {
            return Some(answer);
        }
    }
    None
}

async fn over_udp(query: &Query, message: &[u8], at: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if at.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(at).await?;
    let (id, renumbered) = renumber(message)?;
    socket.send(&renumbered).await?;
    let mut answer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        if query.is_answered_by(message, &answer[..length], id) {
            answer.truncate(length);
            answer[..2].copy_from_slice(&message[..2]);
            return Ok(answer);
        }
    }
}

async fn over_tcp(query: &Query, message: &[u8], at: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    let (id, renumbered) = renumber(message)?;
    stream.write_all(&framed(&renumbered)?).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if !query.is_answered_by(message, &answer, id) {
        return Err(io::Error::other("an answer to another query"));
    }
    answer[..2].copy_from_slice(&message[..2]);
    Ok(answer)
}

/// A message as TCP carries it.
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    Ok(bytes)
}

/// The message with a number that no stranger knows.
fn renumber(message: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let mut renumbered = message.to_vec();
    renumbered[..2].copy_from_slice(&id);
    Ok((u16::from_be_bytes(id), renumbered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read() {
        let text = "# nameserver 1.1.1.1\nsearch x\n nameserver 127.0.0.53 # local\nnameserver fd00::1\nnameserver x\n";
        assert_eq!(parse(text), ["127.0.0.53".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    }
}
