//! The process of a network is killed under its pods, and comes back with everything that they have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

/// How long it may take until all works again.
const RECOVERY: Duration = Duration::from_secs(90);

fn comes_back(user: Option<u32>) {
    let networks = Networks::of(user);
    networks.good(&["network", "create", "shop"]);
    let wishes = ["--network", "shop", "--network-alias", "front", "-p", "8080:80"];
    networks.summon("web", &wishes, "busybox", &["sh", "-c", WEB]);
    networks.summon("client", &["--network", "shop"], "busybox", &["sh", "-c", "echo up; exec sleep 1000"]);
    let (web, client) = (networks.start("web"), networks.start("client"));
    assert_eq!(get("127.0.0.1:8080"), "web\n");

    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Connections that are under way when it happens.
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                if let Ok(mut stream) = TcpStream::connect("127.0.0.1:8080") {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
                    let _ = stream.read_to_end(&mut Vec::new());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        for round in 0..2 {
            let before = networks.keepers();
            assert_eq!(before.len(), 1, "{before:?}");
            kill(&before);
            let deadline = Instant::now() + RECOVERY;
            let until = |works: &dyn Fn() -> bool, what: &str| {
                while !works() {
                    assert!(Instant::now() < deadline, "round {round}: {what}; {}", networks.log());
                    std::thread::sleep(Duration::from_millis(100));
                }
            };
            let is_back = || networks.keepers().first().is_some_and(|keeper| !before.contains(keeper));
            until(&is_back, "no other keeper");
            until(&|| TcpStream::connect("127.0.0.1:8080").is_ok(), "no port");
            assert_eq!(get("127.0.0.1:8080"), "web\n");
            for name in ["web", "front"] {
                let found = || networks.output(&["exec", "client", "nslookup", name]).status.success();
                until(&found, "no names");
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
    // Those that come later are on the same network, and what one has no other gets.
    let said = networks.script("late", &["--network", "shop"], "get web 80; ip -4 addr show eth0");
    assert!(said.contains("web\n") && said.contains(".0.4/"), "{said}");
    drop((web, client));
    networks.nothing_is_left();
}

#[test]
fn a_killed_keeper_comes_back() {
    comes_back(None);
}

#[test]
fn a_killed_keeper_of_an_ordinary_user_comes_back() {
    comes_back(Some(USER));
}
