//! Whether a client is gone for good. The end of its bytes does not tell: it comes too when the client merely has no
//! more to say. Needed where nothing is sent for long, so that no write fails.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use tokio::io::Interest;
use tokio::net::UnixStream;

/// Returns when the other end of a socket, of whatever family, is gone. Works on a descriptor of its own, since
/// waiting for writability takes it from those who write; that one is registered when the future is first polled.
pub(crate) async fn hangup(socket: io::Result<OwnedFd>) {
    let Ok(socket) = socket.and_then(|socket| UnixStream::from_std(StdStream::from(socket))) else {
        // Too many descriptors: the client's end is found out by the next write.
        return pending().await;
    };
    // Unix sockets report a hang-up. Those of vsock become writable, and refuse to be written to.
    while let Ok(ready) = socket.ready(Interest::WRITABLE).await {
        if ready.is_write_closed() || is_broken(&socket) {
            return;
        }
        // Waits for the next change.
        let _cleared = socket.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

fn is_broken(socket: &UnixStream) -> bool {
    socket.try_write(&[]).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_half_closed_client_is_there_and_a_closed_one_is_gone() {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        let mut gone = Box::pin(hangup(server.as_fd().try_clone_to_owned()));
        server.write_all(b"still there?").await.unwrap();
        let mut heard = [0; 12];
        tokio::select! {
            biased;
            () = &mut gone => panic!("the client is there"),
            read = client.read_exact(&mut heard) => assert_eq!(read.unwrap(), heard.len()),
        }
        drop(client);
        gone.await;
    }
}
