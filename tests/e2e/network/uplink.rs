//! The way out of an ordinary user's network: pasta, which is started again where it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::gettid;

use super::*;

/// Gives this thread's network a way out, to a host that counts who comes to its port 7007 and tells the number.
fn outside() -> Arc<AtomicU32> {
    shell(
        "ip link add out0 type veth peer name out1 && ip link set out0 up && ip address add 192.0.2.7/24 dev out0",
    );
    let (tell, told) = std::sync::mpsc::channel();
    let (moved, is_moved) = std::sync::mpsc::channel::<()>();
    let (serving, is_serving) = std::sync::mpsc::channel();
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tell.send(gettid()).unwrap();
        is_moved.recv().unwrap();
        shell("ip address add 192.0.2.99/24 dev out1 && ip link set out1 up");
        let listener = TcpListener::bind("192.0.2.99:7007").unwrap();
        serving.send(()).unwrap();
        for stream in listener.incoming() {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let _ = writeln!(stream.unwrap(), "outside {number}.");
        }
    });
    let thread = told.recv().unwrap().as_raw_nonzero();
    shell(&format!("ip link set out1 netns /proc/{}/task/{thread}/ns/net", std::process::id()));
    moved.send(()).unwrap();
    is_serving.recv().unwrap();
    shell("ip route add default via 192.0.2.99");
    count
}

/// The pastas at work.
fn pastas() -> Vec<Pid> {
    let found = shell("pgrep -f '^pasta --foreground' || true");
    found.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

#[test]
fn a_way_out_that_ends_comes_back() {
    let networks = Networks::of(Some(USER));
    let count = outside();
    networks.good(&["network", "create", "shop"]);
    let walk = "while :; do timeout 5 nc 192.0.2.99 7007 </dev/null; sleep 1; done";
    networks.summon("walker", &["--network", "shop"], "busybox", &["sh", "-c", walk]);
    let mut walker = networks.spawn("walker");
    walker.wait_for("outside 1.");

    let first = pastas();
    assert_eq!(first.len(), 1, "{first:?}");
    kill(&first);
    while pastas().is_empty() || pastas() == first {
        std::thread::sleep(Duration::from_millis(50));
    }
    walker.wait_for(&format!("outside {}.", count.load(Ordering::SeqCst) + 2));
    let log = std::fs::read_to_string(networks.host.home().join("networks/shop/net.log")).unwrap();
    assert!(log.contains("pasta has ended") && log.contains("started again"), "{log}");
    drop(walker);
    networks.nothing_is_left();
    assert_eq!(pastas(), []);
}
