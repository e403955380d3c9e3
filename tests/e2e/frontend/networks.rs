//! Networks of containers: names, addresses and ports, as root and as an ordinary user.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tests::{Daemon, Docker, Host, Registry};

/// Somebody who is nobody here.
const USER: u32 = 4711;

/// Patience of one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a web server answers to `GET /`, at whatever address.
pub(super) fn get(address: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

/// What a server answers to a datagram; one may be lost.
pub(super) fn ask(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let socket = UdpSocket::bind(if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = [0; 64];
    for _ in 0..10 {
        socket.send_to(b"hello", address).unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut answer) {
            assert_eq!(from, address);
            return String::from_utf8(answer[..length].to_vec()).unwrap();
        }
    }
    panic!("no answer from {address}");
}

/// The port of the host behind which a container's port is.
pub(super) fn published(docker: &Docker, container: &str, port: &str) -> u16 {
    let shown = docker.good(&["port", container, port]);
    shown.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

const WEB: &str = "mkdir /www; echo web >/www/index.html; exec httpd -f -p 80 -h /www";
const ECHO: &str = r#"use Socket ':all'; socket(S, AF_INET6, SOCK_DGRAM, 0); bind(S, pack_sockaddr_in6(5353, IN6ADDR_ANY));
    $| = 1; print "up\n"; while (my $from = recv(S, my $text, 64, 0)) { send(S, "echo $text", 0, $from) }"#;

#[test]
fn names_addresses_and_ports_are_real() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    everything(&daemon);
}

#[test]
fn an_ordinary_user_has_networks_too() {
    let host = Host::empty();
    let daemon = Daemon::start_as(&host, USER);
    let archive = tests::images::folder().join("busybox.docker.tar");
    daemon.docker().good(&["load", "-q", "-i", archive.to_str().unwrap()]);
    everything(&daemon);
}

fn everything(daemon: &Daemon<'_>) {
    let docker = daemon.docker();
    let registry = Registry::start();
    docker.good(&["network", "create", "--ipv6", "--subnet", "10.77.0.0/24", "back"]);
    docker.good(&["volume", "create", "--driver", "gfs", "-o", "writers=many", "shared"]);
    docker.good(&[
        "run",
        "-d",
        "--name",
        "web",
        "-v",
        "shared:/shared",
        "--network",
        "name=back,alias=shop,ip=10.77.0.9",
        "-p",
        "80",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        WEB,
    ]);
    docker.good(&[
        "run",
        "-d",
        "--name",
        "echo",
        "-v",
        "shared:/shared:ro",
        "--network",
        "back",
        "-p",
        "5353/udp",
        &registry.image("debian"),
        "perl",
        "-e",
        ECHO,
    ]);
    let volume = "shared:/shared";
    docker.good(&[
        "run",
        "-d",
        "--name",
        "client",
        "-v",
        volume,
        "--network",
        "back",
        "busybox",
        "sleep",
        "1000",
    ]);

    // One directory in three machines, as whoever the daemon is.
    docker.shell("web", "echo first >/shared/a");
    assert_eq!(
        docker.shell("client", "cat /shared/a; echo second >>/shared/a; mv /shared/a /shared/b"),
        "first\n"
    );
    assert_eq!(
        docker.shell("echo", "ls /shared; cat /shared/b; rm -f /shared/b 2>/dev/null || echo refused"),
        "b\nfirst\nsecond\nrefused\n"
    );
    docker.shell("web", "rm /shared/b");
    assert_eq!(docker.shell("client", "ls -A /shared"), "");

    // Names and addresses, in the container and outside.
    let id = docker.good(&["inspect", "-f", "{{slice .Id 0 12}}", "web"]);
    for name in ["web", "shop", id.trim()] {
        let found = docker.shell("client", &format!("until wget -qO- http://{name}/; do sleep 0.2; done"));
        assert_eq!(found, "web\n", "{name}");
    }
    let format = "{{with .NetworkSettings.Networks.back}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}}{{end}}";
    let shown = docker.good(&["inspect", "-f", format, "web"]);
    let (address, mac) = shown.trim().rsplit_once(' ').unwrap();
    assert_eq!(address, "10.77.0.9/24 10.77.0.1");
    assert_eq!(docker.shell("web", "cat /sys/class/net/eth0/address").trim(), mac);
    assert!(docker.shell("web", "cat /etc/hosts").contains("10.77.0.9\t"));
    let ipv6 = docker.good(&["inspect", "-f", "{{.NetworkSettings.Networks.back.GlobalIPv6Address}}", "web"]);
    assert_eq!(docker.shell("client", &format!("wget -qO- 'http://[{}]/'", ipv6.trim())), "web\n");
    let members = "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.MacAddress}};{{end}}";
    let members = docker.good(&["network", "inspect", "-f", members, "back"]);
    assert!(
        members.contains(&format!("web 10.77.0.9/24 {mac};")) && members.contains("client 10.77.0."),
        "{members}"
    );

    // Ports.
    let port = published(&docker, "web", "80/tcp");
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(get(&format!("{host}:{port}")), "web\n", "{host}");
    }
    assert_eq!(docker.good(&["port", "web"]).lines().count(), 3);
    assert!(
        docker
            .good(&["ps", "--format", "{{.Ports}}", "-f", "name=web"])
            .contains(&format!("0.0.0.0:{port}->80/tcp"))
    );
    let port = published(&docker, "echo", "5353/udp");
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(ask(&format!("{host}:{port}")), "echo hello", "{host}");
    }

    // A new name is a name at once, and the old one is none.
    docker.good(&["rename", "web", "shopfront"]);
    let find = "nslookup shopfront >/dev/null && ! nslookup web >/dev/null && nslookup shop";
    assert!(docker.shell("client", find).contains("10.77.0.9"));
    docker.good(&["rename", "shopfront", "web"]);

    // Who has what, has it alone.
    let said = docker.refused(&["network", "rm", "back"], 1);
    assert!(said.contains("has active endpoints") && said.contains("name:\"web\""), "{said}");
    changes_while_it_runs(&docker);
    // Of one that is gone there is nothing to be done, and by force that is no error.
    docker.good(&["network", "disconnect", "-f", "back", "gone"]);
    assert!(docker.refused(&["network", "disconnect", "back", "gone"], 1).contains("No such container"));
    let taken = published(&docker, "web", "80/tcp").to_string();
    let said =
        docker.refused(&["run", "--name", "late", "-p", &format!("{taken}:80"), "busybox", "true"], 125);
    let words = format!("Bind for 0.0.0.0:{taken} failed: port is already allocated");
    assert!(
        said.contains("driver failed programming external connectivity on endpoint late")
            && said.contains(&words),
        "{said}"
    );
    assert_eq!(docker.good(&["inspect", "-f", "{{.State.Status}}", "late"]), "created\n");

    // The default network knows no names, and other networks are out of reach.
    docker.good(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let said = docker.shell("other", "nslookup web >/dev/null || nc -w 3 10.77.0.9 80 </dev/null || echo no");
    assert!(said.ends_with("no\n"), "{said}");

    // What is stopped frees what it had.
    docker.good(&["rm", "-f", "web", "echo", "client"]);
    docker.good(&["start", "late"]);
    docker.good(&["network", "rm", "back"]);
    let events = docker.events(&["--filter", "network=back", "--format", "{{.Action}}"]);
    let mut counts = std::collections::BTreeMap::new();
    for event in events.lines() {
        *counts.entry(event).or_insert(0) += 1;
    }
    assert_eq!(counts, [("connect", 4), ("create", 1), ("destroy", 1), ("disconnect", 4)].into());
}

/// Networks come and go for `client` and `web`, which run on `back` all the time or again.
fn changes_while_it_runs(docker: &Docker) {
    docker.good(&["network", "create", "side"]);
    docker.good(&["run", "-d", "--name", "peer", "--network", "side", "busybox", "sh", "-c", WEB]);
    let reaches = |name: &str| docker.shell("client", &format!("wget -qO- http://{name}/"));
    let knows = |name: &str| docker.run(&["exec", "client", "nslookup", name]).code == Some(0);
    assert!(!knows("peer"));

    docker.good(&["network", "connect", "--alias", "guest", "side", "client"]);
    assert_eq!(docker.shell("client", "until wget -qO- http://peer/; do sleep 0.2; done"), "web\n");
    assert_eq!(reaches("web"), "web\n");
    let address = "{{.NetworkSettings.Networks.side.IPAddress}}";
    let address = docker.good(&["inspect", "-f", address, "client"]).trim().to_owned();
    for name in ["client", "guest"] {
        assert!(docker.shell("peer", &format!("nslookup {name}")).contains(&address), "{name}");
    }
    assert!(docker.shell("client", "cat /etc/hosts; ip addr show eth1").matches(&address).count() == 2);
    let said = docker.refused(&["network", "connect", "side", "client"], 1);
    assert!(said.contains("endpoint with name client already exists in network side"), "{said}");

    let peer = docker.good(&["inspect", "-f", "{{.NetworkSettings.Networks.side.IPAddress}}", "peer"]);
    docker.good(&["network", "disconnect", "side", "client"]);
    assert!(!knows("peer") && reaches("web") == "web\n");
    let said = docker.shell("client", &format!("nc -w 3 {} 80 </dev/null 2>&1 || echo no", peer.trim()));
    assert!(said.ends_with("no\n"), "{said}");
    assert_eq!(
        docker.shell("client", "ls /sys/class/net; grep -c nameserver /etc/resolv.conf"),
        "eth0\nlo\n2\n"
    );
    assert!(!docker.shell("client", "cat /etc/hosts").contains(&address));
    let said = docker.refused(&["network", "disconnect", "side", "client"], 1);
    assert!(said.contains("is not connected to the network side"), "{said}");

    // Published ports and the default route go where there is a way out.
    docker.good(&["network", "connect", "side", "web"]);
    let port = published(docker, "web", "80/tcp");
    assert_eq!(get(&format!("127.0.0.1:{port}")), "web\n");
    docker.good(&["network", "disconnect", "back", "web"]);
    let port = published(docker, "web", "80/tcp");
    assert_eq!(get(&format!("[::1]:{port}")), "web\n");
    assert!(docker.shell("web", "ip route").contains("dev eth1") && !knows("web"));
    let said = docker.refused(&["network", "connect", "--ip", "10.77.0.1", "back", "web"], 1);
    assert!(said.contains("Address already in use"), "{said}");
    docker.good(&["network", "connect", "--ip", "10.77.0.9", "--alias", "shop", "back", "web"]);
    docker.good(&["network", "disconnect", "side", "web"]);
    let port = published(docker, "web", "80/tcp");
    assert_eq!((get(&format!("127.0.0.1:{port}")), reaches("shop")), ("web\n".into(), "web\n".into()));
    docker.good(&["rm", "-f", "peer"]);
    docker.good(&["network", "rm", "side"]);
    let events = docker.events(&["--filter", "network=side", "--format", "{{.Action}}"]);
    let connects = events.lines().filter(|action| *action == "connect").count();
    assert_eq!(connects, 3, "{events}");
}

#[test]
fn networks_outlive_the_daemon_and_change_between_runs() {
    let host = Host::shared();
    let mut daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["network", "create", "--internal", "inner"]);
    docker.good(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "inner",
        "-p",
        "80",
        "busybox",
        "sh",
        "-c",
        WEB,
    ]);
    let shown = |format: &str| docker.good(&["inspect", "-f", format, "web"]);
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.EndpointID}}{{end}}";
    let before = shown(address);
    daemon.kill();
    daemon.again();
    assert_eq!(shown(address), before);
    assert_eq!(docker.shell("web", "ip route | grep -c default || true"), "0\n");

    // What came while it ran is known to a daemon that did not bring it.
    docker.good(&["network", "create", "outer"]);
    docker.good(&["network", "connect", "outer", "web"]);
    let before = shown(address);
    daemon.kill();
    daemon.again();
    assert_eq!(shown(address), before);
    let port = published(&docker, "web", "80/tcp");
    assert_eq!(get(&format!("127.0.0.1:{port}")), "web\n");
    docker.good(&["network", "disconnect", "outer", "web"]);
    assert_eq!(docker.shell("web", "ip route | grep -c default || true"), "0\n");

    docker.good(&["stop", "-t", "0", "web"]);
    assert_eq!(shown("{{.NetworkSettings.Networks.inner.IPAddress}}"), "\n");
    docker.good(&["network", "connect", "--alias", "shop", "outer", "web"]);
    docker.good(&["rename", "web", "renamed"]);
    docker.good(&["start", "renamed"]);
    docker.good(&["run", "-d", "--name", "client", "--network", "outer", "busybox", "sleep", "1000"]);
    for name in ["renamed", "shop"] {
        let found = docker.shell("client", &format!("until wget -qO- http://{name}/; do sleep 0.2; done"));
        assert_eq!(found, "web\n", "{name}");
    }
    // The way out is that of the network that has one.
    assert!(docker.shell("renamed", "ip route").contains("default via"));
    assert_eq!(docker.shell("renamed", "ls /sys/class/net"), "eth0\neth1\nlo\n");
}
