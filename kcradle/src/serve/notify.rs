//! What a service manager is told (sd_notify(3)): one datagram to the socket of `$NOTIFY_SOCKET`.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, if there is one. One that does not listen is none.
pub(super) fn tell(state: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        let _sent = send(name.as_bytes(), state);
    }
}

fn send(name: &[u8], state: &str) -> io::Result<usize> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_it_at_both_kinds_of_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("kcradle-notify-{}", std::process::id());
        let at = |address: &SocketAddr| UnixDatagram::bind_addr(address).unwrap();
        for (name, listener) in [
            (path.to_str().unwrap().to_owned(), at(&SocketAddr::from_pathname(&path).unwrap())),
            (format!("@{abstract_name}"), at(&SocketAddr::from_abstract_name(&abstract_name).unwrap())),
        ] {
            send(name.as_bytes(), "READY=1").unwrap();
            let mut buffer = [0; 32];
            let count = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1");
        }
        assert!(send(b"/absent/socket", "READY=1").is_err());
    }
}
