//! Pods that mean harm to their neighbours and the host: frames that speak for others, ways around the rules, and queries
//! that are none. What they send the host hears on its interfaces, and nothing but what is theirs arrives.

mod frames;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::Instant;

use super::*;
use frames::{Side, ethernet, sound, udp, unsound};
use wire::Wire;

/// Sends frames, each of whose hexadecimal digits are an argument, by the interface that is the first one.
const SEND: &str = r#"use Socket; open(I, "/sys/class/net/eth0/ifindex") or die; my $index = <I>;
    socket(S, 17, SOCK_RAW, 0x300) or die "no raw socket: $!"; bind(S, pack("S n l x12", 17, 3, $index)) or die $!;
    for (@ARGV) { defined send(S, pack("H*", $_), 0) or die "cannot send: $!" }
    $| = 1; print "sent\n"; sleep 1000"#;

/// Asks for a connection to each `ADDRESS PORT` at once, and says which there are after some seconds.
const SCAN: &str = r#"use Socket ':all'; use IO::Poll; use IO::Handle; my ($poll, %to, @open) = IO::Poll->new;
    for (@ARGV) { my ($host, $port) = split / /;
        for my $kind (SOCK_STREAM, SOCK_DGRAM) { my ($why, $at) = getaddrinfo($host, $port, {flags => AI_NUMERICHOST, socktype => $kind});
            socket(my $socket, $at->{family}, $kind | SOCK_NONBLOCK, 0) or die "$host: $!";
            next unless connect($socket, $at->{addr}) || $!{EINPROGRESS};
            if ($kind == SOCK_DGRAM) { send($socket, "EVIL", 0) } else { $to{$socket} = $_; $poll->mask($socket, POLLOUT) } } }
    my $end = time + 5; while (time < $end) { $poll->poll(0.5);
        for ($poll->handles(POLLOUT | POLLERR | POLLHUP)) { push @open, $to{$_} if getpeername($_); $poll->remove($_) } }
    print "open: ", join(", ", sort @open), "\n""#;

/// Garbage for a resolver, over both transports, and then a question.
const GARBAGE: &str = r#"use IO::Socket::IP; my $udp = IO::Socket::IP->new(PeerHost => "10.78.0.1", PeerPort => 53, Type => SOCK_DGRAM);
    my $head = pack("n6", 7, 0x100, 1, 0, 0, 0); my $name = "\3web\0"; my $end = pack("n2", 1, 1);
    my @evil = ("", "x", $head, "$head$name", $head . "\x{c0}\x0c$end", $head . ("\x3f" . "a" x 63) x 60 . "\0$end", "$head\x80web\0$end",
        pack("n6", 7, 0x100, 65535, 65535, 65535, 65535) . "$name$end", pack("n6", 7, 0x8180, 1, 1, 0, 0) . "$name$end", "$head\xff" x 300,
        pack("n6", 7, 0x7900, 1, 0, 0, 0) . "$name$end", "\0" x 4000);
    for my $round (1 .. 20) { for (@evil) { $udp->send($_); my $cut = $_; substr($cut, int rand length $cut) = ""; $udp->send($cut) } }
    for (@evil, undef) { my $tcp = IO::Socket::IP->new(PeerHost => "10.78.0.1", PeerPort => 53, Type => SOCK_STREAM) or die;
        print $tcp defined $_ ? pack("n", length) . $_ : "\xff\xff" . "x" x 100; $tcp->flush; push @held, $tcp }
    my @found = gethostbyname("web"); print "web is ", join(".", unpack("C4", $found[4])), "\n""#;

/// What the pods of these tests have.
const VICTIM: Side = side(78, 2, 2);
const EVIL: Side = side(78, 66, 0x66);
const GATEWAY: Side = side(78, 1, 1);

const fn side(network: u8, last: u8, last6: u16) -> Side {
    // 78 in the digits of the one is 78 in those of the other.
    let prefix = 0xfd00 | ((network / 10) as u16) << 4 | (network % 10) as u16;
    Side { ip: Ipv4Addr::new(10, network, 0, last), ip6: Ipv6Addr::new(prefix, 0, 0, 0, 0, 0, 0, last6) }
}

/// Networks with a server on `one`, and on `other`, which has no way out.
fn two_networks() -> (Networks, [Running; 2]) {
    let networks = Networks::of(None);
    networks.good(&["network", "create", "--subnet", "10.78.0.0/24", "--subnet", "fd78::/64", "one"]);
    let inner = ["--subnet", "10.79.0.0/24", "--subnet", "fd79::/64", "--internal", "other"];
    networks.good(&[&["network", "create"], &inner[..]].concat());
    let served = ["sh", "-c", WEB];
    let own = ["--network", "one", "--ip", "10.78.0.2", "--ip6", "fd78::2", "-p", "8080:80"];
    networks.summon("web", &own, "busybox", &served);
    networks.summon(
        "inner",
        &["--network", "other", "--ip", "10.79.0.2", "--ip6", "fd79::2"],
        "busybox",
        &served,
    );
    let running = [networks.start("web"), networks.start("inner")];
    (networks, running)
}

impl Networks {
    /// Makes a pod that sends frames.
    fn summon_sender(&self, name: &str, wishes: &[&str], frames: &[Vec<u8>]) {
        let digits = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let frames: Vec<String> = frames.iter().map(digits).collect();
        let mut command = vec!["perl", "-e", SEND];
        command.extend(frames.iter().map(String::as_str));
        self.summon(name, wishes, "debian", &command);
    }

    /// Starts such a pod and waits until it has sent them.
    fn send(&self, name: &str) -> Running {
        let mut running = self.spawn(name);
        running.wait_for("sent");
        running
    }

    /// What a program in a running pod's container says.
    fn exec(&self, name: &str, command: &[&str]) -> String {
        self.good(&[&["exec", name], command].concat())
    }

    /// The MAC address and name of the bridge that has an address.
    fn bridge(address: &str) -> (String, [u8; 6]) {
        let name = shell(&format!("ip -o -4 address | awk '/ {address}\\// {{ printf \"%s\", $2 }}'"));
        // Not of /sys, which shows the network that it was mounted in.
        let text = shell(&format!("ip -o link show dev {name} | grep -o 'link/ether [0-9a-f:]*'"));
        let digits = text.trim().trim_start_matches("link/ether ").split(':');
        let bytes: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        (name, bytes.try_into().unwrap())
    }
}

#[test]
fn frames_that_speak_for_others_do_not_leave_a_pod() {
    let (networks, _pods) = two_networks();
    let (bridge, gateway) = Networks::bridge("10.78.0.1");
    let tables = |networks: &Networks| {
        let victim = networks
            .exec("web", &["sh", "-c", "ip neigh; cat /proc/net/arp; ip route; ip -6 route; ip -6 addr"]);
        victim + &shell(&format!("ip neigh show dev {bridge}; ip route; ip -6 route"))
    };
    // Both have each other in their tables, so that there is something to be changed.
    networks.exec("web", &["sh", "-c", "ping -c 1 10.78.0.1 && ping -6 -c 1 fd78::1"]);
    let before = tables(&networks);

    let mut frames = unsound(&EVIL, &VICTIM, &GATEWAY, gateway);
    let marks = frames.len();
    frames.extend(sound(&EVIL, &GATEWAY, gateway));
    let wishes = ["--network", "one", "--ip", "10.78.0.66", "--ip6", "fd78::66"];
    networks.summon_sender("evil", &wishes, &frames);
    // What the registry gave out passed an interface, too.
    let all = Wire::tap();
    let _evil = networks.send("evil");
    // The last of them are the pod's own, and the only ones to arrive.
    let heard = all.until(|frames| frames.iter().any(|(_, frame)| frame.ends_with(b"GOOD-last")));
    let marked = |mark: &[u8]| {
        let has = |frame: &&(u32, Vec<u8>)| frame.1.windows(mark.len()).any(|window| window == mark);
        heard.iter().filter(has).map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
    };
    for kind in ["GOOD-arp", "GOOD-ip4", "GOOD-ip6", "GOOD-neighbour", "GOOD-fragment"] {
        assert!(!marked(kind.as_bytes()).is_empty(), "{kind} did not arrive");
    }
    assert_eq!(marked(b"EVIL"), Vec::<Vec<u8>>::new(), "of {marks} frames");

    let after = tables(&networks);
    let evil = "02:42:0a:4e:00:42";
    for line in before.lines().chain(after.lines()).filter(|line| line.contains(evil)) {
        let own =
            line.contains("10.78.0.66") || line.contains("fd78::66") || line.contains("fe80::42:aff:fe4e:42");
        assert!(own, "{line}");
    }
    assert!(!after.contains("de:ad") && !after.contains("2001:db8:bad"), "{after}");
    assert!(
        after.contains("fd78::2")
            && before
                .lines()
                .filter(|line| line.contains("default"))
                .eq(after.lines().filter(|line| line.contains("default"))),
        "{before}\n{after}"
    );
    assert_eq!(
        networks.exec("web", &["sh", "-c", "ping -c 1 -w 20 10.78.0.1 >/dev/null && echo well"]),
        "well\n"
    );
    let console = std::fs::read_to_string(networks.host.folder().join("evil/console.log")).unwrap();
    for reason in
        ["MAC address that is not", "IP address that is not", "other protocols", "speak for others", "DHCP"]
    {
        assert!(console.contains(reason), "{reason}: {console}");
    }
}

#[test]
fn a_scan_finds_nothing_of_the_host_and_of_other_networks() {
    let (networks, _pods) = two_networks();
    // The way out, at whose other end somebody could hear.
    shell(
        "ip link add out0 type veth peer name out1 && ip link set out0 up && ip link set out1 up && \
           ip address add 192.0.2.7/24 dev out0 && ip address add 2001:db8::7/64 dev out0 nodad && \
           ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev out0 && ip route add default via 192.0.2.99",
    );
    let server = TcpListener::bind("[::]:7000").unwrap();
    let datagrams = UdpSocket::bind("[::]:7000").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let (bridge, gateway) = Networks::bridge("10.78.0.1");
    let (_, other) = Networks::bridge("10.79.0.1");
    let local = |mac: [u8; 6]| frames::link_local(mac).to_string();

    let hosts = [
        "10.78.0.1",
        "10.79.0.1",
        "192.0.2.7",
        "127.0.0.1",
        "fd78::1",
        "fd79::1",
        "2001:db8::7",
        "::ffff:192.0.2.7",
    ];
    let own = ["127.0.0.1", "::1"];
    let mut aims = Vec::new();
    for host in hosts.iter().filter(|host| !own.contains(host)) {
        aims.extend([22, 53, 80, 111, 7000, 8080].map(|port| format!("{host} {port}")));
    }
    aims.extend(
        [gateway, other]
            .iter()
            .flat_map(|mac| [53, 7000, 8080].map(|port| format!("{}%eth0 {port}", local(*mac)))),
    );
    aims.extend(["10.79.0.2 80", "fd79::2 80", "10.78.0.2 80", "fd78::2 80"].map(str::to_owned));
    aims.extend((1..400).map(|port| format!("10.78.0.1 {port}")));
    aims.sort_unstable();
    aims.dedup();
    let scan = |name: &str, wishes: &[&str]| {
        let command: Vec<&str> =
            ["perl", "-e", SCAN].into_iter().chain(aims.iter().map(String::as_str)).collect();
        networks.summon(name, wishes, "debian", &command);
        networks.good(&["run", name])
    };
    let said = scan("scanner", &["--network", "one", "--ip", "10.78.0.66", "--ip6", "fd78::66"]);
    assert_eq!(said, "open: 10.78.0.1 53, 10.78.0.2 80, fd78::1 53, fd78::2 80\n");
    let said = scan("locked", &["--network", "other", "--ip", "10.79.0.66", "--ip6", "fd79::66"]);
    assert_eq!(said, "open: 10.79.0.1 53, 10.79.0.2 80, fd79::1 53, fd79::2 80\n");

    // What no program's socket sends: the host's loopback and others' addresses in frames to the gateway.
    let aim = |own: &Side, mac: [u8; 6], to: &str, mark: &str| {
        let from: IpAddr = match to.parse().unwrap() {
            IpAddr::V4(_) => own.ip.into(),
            IpAddr::V6(_) => own.ip6.into(),
        };
        ethernet(own.mac(), mac, &udp(from, to.parse().unwrap(), 7000, mark))
    };
    let inside = side(79, 66, 0x66);
    let mut evil: Vec<_> = hosts.map(|to| aim(&EVIL, gateway, to, "EVIL-one")).into();
    evil.push(aim(&EVIL, gateway, "::1", "EVIL-one"));
    evil.extend(["10.79.0.2", "fd79::2"].map(|to| aim(&EVIL, gateway, to, "EVIL-across")));
    evil.push(aim(&EVIL, gateway, "192.0.2.99", "GOOD-out"));
    networks.summon_sender("evil", &["--network", "one", "--ip", "10.78.0.66", "--ip6", "fd78::66"], &evil);
    let mut evil: Vec<_> = hosts.map(|to| aim(&inside, other, to, "EVIL-other")).into();
    evil.extend(
        ["10.78.0.2", "fd78::2", "192.0.2.99", "2001:db8::99"].map(|to| aim(&inside, other, to, "EVIL-out")),
    );
    evil.push(aim(&inside, other, "10.79.0.1", "GOOD-last"));
    networks.summon_sender(
        "inside",
        &["--network", "other", "--ip", "10.79.0.66", "--ip6", "fd79::66"],
        &evil,
    );
    let all = Wire::tap();
    let _running = [networks.send("evil"), networks.send("inside")];
    let out = wire::index("out0");
    let ends = |frames: &[(u32, Vec<u8>)], at: Option<u32>, mark: &[u8]| {
        frames.iter().any(|(from, frame)| frame.ends_with(mark) && at.is_none_or(|at| at == *from))
    };
    let heard = all.until(|frames| ends(frames, Some(out), b"GOOD-out") && ends(frames, None, b"GOOD-last"));
    let crossed = wire::of_bridge(&bridge);
    for (index, frame) in &heard {
        let is = |mark: &[u8]| frame.ends_with(mark);
        // Heard on the sender's own tap and bridge, and nowhere else.
        assert!(!is(b"EVIL-one") && !is(b"EVIL-across") || crossed.contains(index), "{index}: {frame:x?}");
        assert!(
            !is(b"EVIL-other") && !is(b"EVIL-out") || !crossed.contains(index) && *index != out,
            "{index}: {frame:x?}"
        );
    }
    let mut packet = [0; 64];
    assert!(datagrams.recv_from(&mut packet).is_err(), "{packet:x?}");
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err());
}

#[test]
fn a_resolver_lives_through_garbage() {
    let (networks, _pods) = two_networks();
    let begun = Instant::now();
    networks.summon("evil", &["--network", "one"], "debian", &["perl", "-e", GARBAGE]);
    assert_eq!(networks.good(&["run", "evil"]), "web is 10.78.0.2\n", "{:?}", begun.elapsed());
    // Its neighbours are answered meanwhile, and afterwards.
    assert!(networks.exec("web", &["nslookup", "web"]).contains("10.78.0.2"));
}
