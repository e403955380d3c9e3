//! The resolver of a network, at port 53 of its gateways: names of the network's pods, and of the other networks that the
//! asking pod is on; the rest goes on to other resolvers. Pods are hostile: each has so many queries under way, and no more.

mod message;
mod upstream;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::place::Place;
use super::pods::Pods;
use super::serve;
use crate::definition::Definition;
use crate::dir::NetworkDir;

use message::{Asked, Code, Query, Record, Wrong};

/// Queries and connections of one pod that may be under way.
const MOST_OF_ONE: usize = 64;
/// Queries and connections of all.
const MOST_OF_ALL: usize = 1024;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest message over TCP that is read, in bytes: queries are short.
const LONGEST_QUERY: usize = 4096;

/// The sockets of a resolver.
#[derive(Debug)]
pub(super) struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// Binds port 53 of each gateway.
pub(super) fn bind(place: &Place, definition: &Definition) -> io::Result<Sockets> {
    let gateways: Vec<_> = definition.pools.iter().map(|pool| SocketAddr::new(pool.gateway, 53)).collect();
    let bind = move || -> io::Result<Sockets> {
        let udp = gateways.iter().map(UdpSocket::bind).collect::<io::Result<Vec<_>>>()?;
        let tcp = gateways.iter().map(TcpListener::bind).collect::<io::Result<Vec<_>>>()?;
        udp.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
        tcp.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
        Ok(Sockets { udp, tcp })
    };
    place.run(bind)?
}

/// What answers queries.
#[derive(Debug)]
pub(super) struct Resolver {
    pods: Rc<Pods>,
    /// Whether nothing goes on to other resolvers.
    internal: bool,
    under_way: RefCell<BTreeMap<IpAddr, usize>>,
}

/// A query or connection that counts until it is dropped.
struct UnderWay {
    resolver: Rc<Resolver>,
    from: IpAddr,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.resolver.under_way.borrow_mut();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

impl Resolver {
    /// Answers queries of these pods.
    pub(super) fn new(pods: Rc<Pods>, internal: bool) -> Rc<Self> {
        Rc::new(Self { pods, internal, under_way: RefCell::default() })
    }

    /// Answers at the sockets.
    pub(super) fn serve(self: &Rc<Self>, sockets: Sockets) -> io::Result<()> {
        for socket in sockets.udp {
            let socket = Rc::new(tokio::net::UdpSocket::from_std(socket)?);
            spawn_local(Rc::clone(self).serve_udp(socket));
        }
        for socket in sockets.tcp {
            spawn_local(Rc::clone(self).serve_tcp(tokio::net::TcpListener::from_std(socket)?));
        }
        Ok(())
    }

    async fn serve_udp(self: Rc<Self>, socket: Rc<tokio::net::UdpSocket>) {
        let mut packet = vec![0; LONGEST_QUERY];
        loop {
            // An error is one of an earlier answer that did not arrive.
            let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
            let Some(under_way) = self.begin(from.ip()) else { continue };
            let (resolver, socket, message) =
                (Rc::clone(&self), Rc::clone(&socket), packet[..length].to_vec());
            spawn_local(async move {
                if let Some(answer) = resolver.answer(&message, from.ip(), false).await {
                    let _ = socket.send_to(&answer, from).await;
                }
                drop(under_way);
            });
        }
    }

    async fn serve_tcp(self: Rc<Self>, listener: tokio::net::TcpListener) {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(serve::EXHAUSTED).await;
                continue;
            };
            let Some(under_way) = self.begin(from.ip()) else { continue };
            let resolver = Rc::clone(&self);
            spawn_local(async move {
                let _ = resolver.converse(stream, from.ip()).await;
                drop(under_way);
            });
        }
    }

    async fn converse(&self, mut stream: tokio::net::TcpStream, from: IpAddr) -> io::Result<()> {
        loop {
            let length = usize::from(timeout(SILENCE, stream.read_u16()).await??);
            if length > LONGEST_QUERY {
                return Ok(());
            }
            let mut message = vec![0; length];
            timeout(SILENCE, stream.read_exact(&mut message)).await??;
            let Some(answer) = self.answer(&message, from, true).await else { return Ok(()) };
            timeout(SILENCE, stream.write_all(&upstream::framed(&answer)?)).await??;
        }
    }

    fn begin(self: &Rc<Self>, from: IpAddr) -> Option<UnderWay> {
        let mut counts = self.under_way.borrow_mut();
        let all: usize = counts.values().sum();
        let own = counts.entry(from).or_default();
        if *own >= MOST_OF_ONE || all >= MOST_OF_ALL {
            return None;
        }
        *own += 1;
        Some(UnderWay { resolver: Rc::clone(self), from })
    }

    /// The answer to a packet, if it gets one.
    async fn answer(&self, message: &[u8], from: IpAddr, tcp: bool) -> Option<Vec<u8>> {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Wrong::Silence) => return None,
            Err(Wrong::Answer(code)) => return Some(message::bare(message, code)),
        };
        let asking = self.pods.at(from);
        let siblings = asking.as_ref().map(|pod| pod.siblings.as_slice()).unwrap_or_default();
        if let Some(records) = self.records(&query.asked, siblings).await {
            return Some(query.answer(message, Code::Good, &records));
        }
        let failed = || query.answer(message, Code::Failed, &[]);
        if self.internal {
            return Some(failed());
        }
        let resolvers = asking.map(|pod| pod.dns).filter(|own| !own.is_empty());
        let resolvers = resolvers.unwrap_or_else(upstream::of_host);
        Some(upstream::ask(&query, message, &resolvers, tcp).await.unwrap_or_else(failed))
    }

    /// What this network's pods, or those of the asking pod's other networks, are called; `None`: it is none of them.
    async fn records(&self, asked: &Asked, siblings: &[std::path::PathBuf]) -> Option<Vec<Record>> {
        let wanted = match asked {
            Asked::Addresses { name, .. } | Asked::Other { name: Some(name) } => name.clone(),
            Asked::Names(address) => address.to_string(),
            Asked::Other { name: None } => return None,
        };
        let mut found = self.pods.lookup(&wanted);
        for sibling in siblings {
            if found.is_some() {
                break;
            }
            found = serve::ask(&NetworkDir::at(sibling), &wanted).await;
        }
        let found = found?;
        Some(match asked {
            Asked::Names(_) => found.into_iter().map(Record::Name).collect(),
            Asked::Other { .. } => Vec::new(),
            Asked::Addresses { ipv6, .. } => {
                let addresses = found.iter().filter_map(|text| text.parse::<IpAddr>().ok());
                shuffled(
                    addresses.filter(|address| address.is_ipv6() == *ipv6).map(Record::Address).collect(),
                )
            }
        })
    }
}

/// The records in another order each time, so that many pods of one name have each their share.
fn shuffled(mut records: Vec<Record>) -> Vec<Record> {
    let mut random = vec![0; records.len()];
    if rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty()).is_ok() {
        for (index, byte) in random.iter().enumerate().skip(1) {
            records.swap(index, usize::from(*byte) % (index + 1));
        }
    }
    records
}
