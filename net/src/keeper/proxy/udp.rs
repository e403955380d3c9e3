//! A published port of UDP: each client has a socket of its own towards the pod, by which answers find the way back, until
//! neither side has said anything for a while.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::SocketType;
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::Place;

/// How long a client is remembered that says and hears nothing; Docker's.
const IDLE: Duration = Duration::from_secs(90);
/// Clients that are remembered; who has been silent for longest makes room.
const MOST_CLIENTS: usize = 1024;
/// Datagrams of one pod that are passed on before others have their turn.
const TURN: usize = 64;
/// The largest datagram.
const LARGEST: usize = 65535;

/// A client.
struct Client {
    pod: Rc<tokio::net::UdpSocket>,
    heard: Rc<Cell<Instant>>,
    answers: AbortHandle,
}

/// Room for one datagram, of whichever client.
type Buffer = Rc<RefCell<Vec<u8>>>;

type Clients = Rc<RefCell<BTreeMap<SocketAddr, Client>>>;

/// Passes datagrams to `socket` on to the pod, and its answers back, until it is aborted.
pub(in crate::keeper) fn start(socket: UdpSocket, place: Place, to: SocketAddr) -> io::Result<AbortHandle> {
    let socket = Rc::new(tokio::net::UdpSocket::from_std(socket)?);
    let serve = async move {
        let clients = Clients::default();
        // Ends with this task.
        let mut tasks = JoinSet::new();
        let mut packet = vec![0; LARGEST];
        let buffer: Buffer = Rc::new(RefCell::new(vec![0; LARGEST]));
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut packet) => received,
                Some(_) = tasks.join_next() => continue,
            };
            // An error is one of an earlier answer that did not arrive.
            let Ok((length, from)) = received else { continue };
            let known = clients.borrow().get(&from).map(|client| {
                client.heard.set(Instant::now());
                Rc::clone(&client.pod)
            });
            let pod = match known {
                Some(pod) => pod,
                None => match begin(&clients, &mut tasks, (&socket, &buffer), from, &place, to) {
                    Ok(pod) => pod,
                    Err(_) => continue,
                },
            };
            // Where it cannot be sent now it is lost, as datagrams are.
            let _ = pod.try_send(&packet[..length]);
        }
    };
    Ok(spawn_local(serve).abort_handle())
}

/// Remembers a client and passes the pod's answers to it.
fn begin(
    clients: &Clients,
    tasks: &mut JoinSet<()>,
    (socket, buffer): (&Rc<tokio::net::UdpSocket>, &Buffer),
    from: SocketAddr,
    place: &Place,
    to: SocketAddr,
) -> io::Result<Rc<tokio::net::UdpSocket>> {
    if clients.borrow().len() >= MOST_CLIENTS {
        let mut clients = clients.borrow_mut();
        let oldest = clients.iter().min_by_key(|(_, client)| client.heard.get()).map(|(from, _)| *from);
        if let Some(client) = oldest.and_then(|from| clients.remove(&from)) {
            client.answers.abort();
        }
    }
    let pod = super::connect(place, SocketType::DGRAM, to)?;
    let pod = Rc::new(tokio::net::UdpSocket::from_std(pod.into())?);
    let heard = Rc::new(Cell::new(Instant::now()));
    let (ours, theirs) = (Rc::clone(&pod), Rc::clone(socket));
    let (last, known, buffer) = (Rc::clone(&heard), Rc::clone(clients), Rc::clone(buffer));
    let answers = tasks.spawn_local(async move {
        loop {
            tokio::select! {
                ready = ours.readable() => {
                    let passed = match ready {
                        Ok(()) => answer(&ours, &theirs, from, &mut buffer.borrow_mut()),
                        Err(_) => 0,
                    };
                    if passed > 0 {
                        last.set(Instant::now());
                    }
                    if passed == TURN {
                        tokio::task::yield_now().await;
                    }
                }
                () = sleep_until(last.get() + IDLE) => {
                    if last.get().elapsed() >= IDLE {
                        known.borrow_mut().remove(&from);
                        return;
                    }
                }
            }
        }
    });
    clients.borrow_mut().insert(from, Client { pod: Rc::clone(&pod), heard, answers });
    Ok(pod)
}

/// Passes what the pod has sent to its client, a turn's worth at most; what does not go now is lost, as datagrams are.
/// Answers how many there were.
fn answer(
    pod: &tokio::net::UdpSocket,
    socket: &tokio::net::UdpSocket,
    to: SocketAddr,
    buffer: &mut [u8],
) -> usize {
    for passed in 0..TURN {
        match pod.try_recv(buffer) {
            Ok(length) => {
                let _ = socket.try_send_to(&buffer[..length], to);
            }
            // Nothing more, or refused by a pod that does not listen yet: the client may go on.
            Err(_) => return passed,
        }
    }
    TURN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_that_talks_without_end_gets_its_turns() {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (pod, ours, front, client) = (bind(), bind(), bind(), bind());
        let (to_ours, to_client) = (ours.local_addr().unwrap(), client.local_addr().unwrap());
        for byte in 0..=TURN {
            pod.send_to(&[u8::try_from(byte).unwrap()], to_ours).unwrap();
        }
        let of = |socket: UdpSocket| {
            socket.set_nonblocking(true).unwrap();
            tokio::net::UdpSocket::from_std(socket).unwrap()
        };
        let (ours, front) = (of(ours), of(front));
        ours.readable().await.unwrap();
        front.writable().await.unwrap();
        let mut buffer = vec![0; 16];
        assert_eq!(answer(&ours, &front, to_client, &mut buffer), TURN);
        assert_eq!(answer(&ours, &front, to_client, &mut buffer), 1);
        for byte in 0..=TURN {
            assert_eq!(client.recv(&mut buffer).unwrap(), 1);
            assert_eq!(usize::from(buffer[0]), byte);
        }
    }
}
