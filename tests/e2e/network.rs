//! Networks of pods by the command line: names, ports, walls between networks, as root and as an ordinary user; and that
//! nothing is left of what was killed. Each test has a network namespace of its own.

mod hostile;
mod keeper;
mod uplink;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pod::PodDir;
use rustix::process::{Pid, Signal, kill_process};
use tests::{Host, Registry, Running};

/// Somebody who is nobody here.
const USER: u32 = 4712;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The comm of a network's process.
const KEEPER: &str = "cradle-network";
/// With the process that starts another one.
const ALL: [&str; 2] = [KEEPER, "cradle-store"];

const WEB: &str = "mkdir /www; echo web >/www/index.html; httpd -p 80 -h /www; echo up; exec sleep 1000";
const ECHO: &str = r#"use Socket qw(:DEFAULT pack_sockaddr_in6 IN6ADDR_ANY); socket(S, AF_INET6, SOCK_DGRAM, 0);
    bind(S, pack_sockaddr_in6(5353, IN6ADDR_ANY)) or die; $| = 1; print "up\n";
    while (my $from = recv(S, my $text, 64, 0)) { send(S, "echo $text", 0, $from) }"#;
/// What a server at port 80 answers, asked in a pod.
const GET: &str =
    "get() { (printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 2) | nc -w 5 $1 $2 || echo refused; };";

/// A user's `kcradle` in a network namespace of this thread's own.
struct Networks {
    host: Host,
    /// Where a user who may read none of the test's files has images from.
    registry: Registry,
    user: Option<u32>,
}

impl Networks {
    fn of(user: Option<u32>) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        shell("ip link set lo up");
        let host = Host::empty();
        if let Some(user) = user {
            std::fs::create_dir_all(host.home()).unwrap();
            for folder in [host.folder(), host.home()] {
                std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
            }
        }
        Self { host, registry: Registry::start(), user }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Where a test hangs, its output tells in what.
        eprintln!("kcradle {:?}", arguments.iter().take(9).collect::<Vec<_>>());
        let mut command = self.host.kcradle(arguments);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.current_dir(self.host.folder());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kcradle {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a pod of that name.
    fn summon(&self, name: &str, wishes: &[&str], image: &str, command: &[&str]) {
        let image = self.registry.image(image);
        self.good(&[&["summon", "-q", "-m", "128m"], wishes, &[name, &image], command].concat());
    }

    /// Starts a pod and waits until it says that it is up.
    fn start(&self, name: &str) -> Running {
        let mut running = self.spawn(name);
        running.wait_for("up");
        running
    }

    fn spawn(&self, name: &str) -> Running {
        let mut command = self.command(&["run", name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().unwrap())
    }

    /// What a pod of a shell script says.
    fn script(&self, name: &str, wishes: &[&str], script: &str) -> String {
        self.summon(name, wishes, "busybox", &["sh", "-c", &format!("{GET} {script}")]);
        self.good(&["run", name])
    }

    /// The host's port behind which a pod's port is.
    fn published(&self, name: &str, guest_port: u16) -> u16 {
        let dir = PodDir::new(&self.host.folder().join(name)).unwrap();
        let networks = dir.read_network().unwrap().unwrap().networks;
        let port = networks[0].endpoint.ports.iter().find(|port| port.guest_port == guest_port);
        port.unwrap().host_port
    }

    /// The processes of this test's networks.
    fn keepers(&self) -> Vec<Pid> {
        self.processes(&[KEEPER])
    }

    /// The processes of this test's networks with one of these names.
    fn processes(&self, names: &[&str]) -> Vec<Pid> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let ours = read("cmdline").contains(self.host.home().to_str().unwrap());
            if ours && names.contains(&read("comm").trim()) {
                found.extend(Pid::from_raw(pid));
            }
        }
        found
    }

    /// What the process of the network `shop` had to say.
    fn log(&self) -> String {
        std::fs::read_to_string(self.host.home().join("networks/shop/net.log")).unwrap_or_default()
    }

    /// Waits until no network is in use, and sees that nothing is left of any.
    fn nothing_is_left(&self) {
        for _ in 0..300 {
            if self.processes(&ALL).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(self.processes(&ALL).is_empty(), "a network's process does not end");
        self.good(&["network", "prune"]);
        // Taps are closed by the kernel some ticks after their pods have ended.
        let links = || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let left = || links().lines().any(|line| line.trim().starts_with("cr"));
        for _ in 0..100 {
            if !left() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(!left(), "{}", links());
        assert_eq!(shell("nft list tables"), "");
        assert_eq!(shell("pgrep -f '^pasta --foreground' || true"), "");
    }
}

/// What a command line of this thread's network namespace says.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

/// What a server answers to a datagram; one may be lost.
fn ask(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let socket = UdpSocket::bind(if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = [0; 64];
    for _ in 0..5 {
        socket.send_to(b"hello", address).unwrap();
        if let Ok((length, _)) = socket.recv_from(&mut answer) {
            return String::from_utf8(answer[..length].to_vec()).unwrap();
        }
    }
    panic!("no answer from {address}");
}

fn names_and_ports(user: Option<u32>) {
    let networks = Networks::of(user);
    networks.good(&["network", "create", "--ipv6", "--subnet", "10.77.0.0/24", "shop"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let range = format!("127.0.0.1:{}-65535:81", taken.local_addr().unwrap().port());
    networks.summon("web", &["--network", "shop", "-p", "80", "-p", &range], "busybox", &["sh", "-c", WEB]);
    let wishes = ["--network", "shop", "--ip", "10.77.0.9", "-p", "5353/udp"];
    networks.summon("echo", &wishes, "debian", &["perl", "-e", ECHO]);
    let (_web, _echo) = (networks.start("web"), networks.start("echo"));

    let port = networks.published("web", 80);
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(get(&address), "web\n", "{address}");
    }
    assert_ne!(networks.published("web", 81), taken.local_addr().unwrap().port());
    let port = networks.published("echo", 5353);
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(ask(&address), "echo hello", "{address}");
    }

    let script = "ping -c 1 -w 20 web && ping -6 -c 1 -w 20 echo.shop && get web 80; nslookup 10.77.0.9; cat /etc/resolv.conf; \
                  ls /sys/class/net/eth0/queues";
    let said = networks.script("client", &["--network", "shop", "--cpus", "2"], script);
    for expected in ["web\n", "echo.shop", "nameserver 10.77.0.1", " 0% packet loss", "rx-1\n", "tx-1\n"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }

    // What one has no other can have.
    networks.summon("twin", &["--network", "shop", "--ip", "10.77.0.9"], "busybox", &["true"]);
    let refused = String::from_utf8(networks.output(&["run", "twin"]).stderr).unwrap();
    assert!(refused.contains("Address already in use"), "{refused}");
    let wish = format!("{}:80", networks.published("web", 80));
    networks.summon("third", &["--network", "shop", "-p", &wish], "busybox", &["true"]);
    let refused = String::from_utf8(networks.output(&["run", "third"]).stderr).unwrap();
    assert!(refused.contains("driver failed programming external connectivity on endpoint"), "{refused}");
    assert!(refused.contains("port is already allocated"), "{refused}");

    let output = networks.output(&["network", "rm", "shop"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("has active endpoints"));
    drop((_web, _echo));
    networks.nothing_is_left();
    assert!(networks.good(&["network", "ls", "-q"]).lines().count() == 1);
}

#[test]
fn pods_find_each_other_and_publish_ports() {
    names_and_ports(None);
}

#[test]
fn an_ordinary_user_has_networks() {
    names_and_ports(Some(USER));
}

#[test]
fn there_are_walls_between_networks_and_around_the_host() {
    let networks = Networks::of(None);
    networks.good(&["network", "create", "--subnet", "10.78.0.0/24", "one"]);
    networks.good(&["network", "create", "--subnet", "10.79.0.0/24", "--internal", "other"]);
    networks.summon("web", &["--network", "one", "-p", "8080:80"], "busybox", &["sh", "-c", WEB]);
    let _web = networks.start("web");
    let server = TcpListener::bind("0.0.0.0:7000").unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let _ = stream.unwrap().write_all(b"the host\n");
        }
    });
    // Neither the host, nor what another network publishes there, nor that network's pods; names are that network's.
    let script = "get 10.79.0.1 7000; get 10.79.0.1 8080; get 10.78.0.2 80; nslookup web; ip route";
    let said = networks.script("walled", &["--network", "other"], script);
    assert_eq!(said.matches("refused").count(), 3, "{said}");
    assert!(
        !said.contains("the host") && !said.contains("10.78.0.2\n") && !said.contains("default"),
        "{said}"
    );
    // But for a pod that is given the host.
    let script = "get hosts.name 7000; get 10.78.0.1 22";
    let said =
        networks.script("guest", &["--network", "one", "--add-host", "hosts.name:host-gateway"], script);
    assert!(said.contains("the host"), "{said}");
    // A pod on both finds names of both.
    let said = networks.script("both", &["--network", "other", "--network", "one"], "get web 80; ip route");
    assert!(said.contains("web\n") && said.contains("default via 10.78.0.1"), "{said}");
}

/// Kills processes; those that have ended by themselves are passed over.
fn kill(processes: &[Pid]) {
    for process in processes {
        let _ = kill_process(*process, Signal::KILL);
    }
}

/// `FAULT_ROUNDS` for more.
fn rounds() -> u32 {
    std::env::var("FAULT_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap())
}

fn kills(user: Option<u32>) {
    let networks = Networks::of(user);
    networks.good(&["network", "create", "shop"]);
    networks.summon("web", &["--network", "shop", "-p", "8080:80"], "busybox", &["sh", "-c", WEB]);
    for round in 0..rounds() {
        let pod = networks.spawn("web");
        // No order is meant: each round kills at another instant.
        std::thread::sleep(Duration::from_millis(u64::from(round * 397 % 1500)));
        let victims = networks.keepers();
        if round % 2 == 0 {
            kill(&victims);
        }
        pod.signal(Signal::KILL);
        drop(pod);
        if round % 2 == 1 {
            kill(&victims);
        }
        if round % 4 < 2 {
            networks.nothing_is_left();
        }
        // The next start clears away by itself, and has everything.
        let _web = networks.start("web");
        assert_eq!(get("127.0.0.1:8080"), "web\n", "round {round}");
    }
    networks.nothing_is_left();
}

#[test]
fn nothing_is_left_of_what_is_killed() {
    kills(None);
}

#[test]
fn nothing_is_left_of_an_ordinary_users_either() {
    kills(Some(USER));
}
