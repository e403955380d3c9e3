//! `kcradle serve` as a process: its sockets, its log, its metrics, TLS, units and manual. No pods.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::host::Host;

/// A daemon that runs; killed with this.
pub(crate) struct Served {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Served {
    /// A daemon at `docker.sock` in the test's folder, once it serves.
    pub(crate) fn start(host: &Host, arguments: &[&str]) -> Self {
        let command = host.command(&["serve", "--socket", "docker.sock", "--state", "state"]);
        Self::spawn(host, command, arguments)
    }

    fn spawn(host: &Host, mut command: Command, arguments: &[&str]) -> Self {
        let notify = host.path("notify");
        let _ = std::fs::remove_file(&notify);
        let manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
        let log = host.path("log");
        command.args(arguments).env("NOTIFY_SOCKET", &notify).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let mut told = [0; 64];
        let count = manager.recv(&mut told).unwrap_or_else(|error| {
            let _ = child.kill();
            panic!("{error}: {}", std::fs::read_to_string(&log).unwrap())
        });
        assert_eq!(&told[..count], b"READY=1");
        Self { child, log, socket: host.path("docker.sock") }
    }

    /// The address that its log has behind `key`: a thread of its own writes that.
    fn address(&self, key: &str) -> String {
        for _ in 0..6000 {
            let log = std::fs::read_to_string(&self.log).unwrap();
            // Whole lines alone.
            let lines = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some((_, rest)) = lines.split_once(key) {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no {key} in {}", std::fs::read_to_string(&self.log).unwrap())
    }

    /// Asks and hears the whole answer: its status and what is behind the head.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        ask(UnixStream::connect(&self.socket)?, method, path, body)
    }

    /// Sends it the signal that it cannot catch.
    pub(crate) fn cut(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order: its exit code, and its log.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, std::fs::read_to_string(&self.log).unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(
    mut stream: impl std::io::Read + std::io::Write,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nX-Registry-Auth: c2VjcmV0\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = String::new();
    reader.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    code.zip(body).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

#[test]
fn a_daemon_serves_until_it_is_told_to_end() {
    let host = Host::new();
    let served = Served::start(&host, &["--log-format", "json", "--log-level", "debug"]);
    assert_eq!(served.ask("GET", "/_ping", "").unwrap(), (200, "OK".to_owned()));
    let second = host.command(&["serve", "--socket", "docker.sock", "--state", "other"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another daemon serves it"));
    assert_eq!(served.ask("POST", "/volumes/create?secret=1", r#"{"Name":"data"}"#).unwrap().0, 201);
    assert_eq!(served.ask("GET", "/absent\u{7f}", "").unwrap().0, 400);
    assert_eq!(served.ask("GET", "/absent%0A", "").unwrap().0, 404);
    let (code, log) = served.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!host.path("docker.sock").exists());
    assert!(!log.contains("secret") && !log.contains("c2VjcmV0"), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line["msg"] == "request").collect();
    let said: Vec<_> = requests
        .iter()
        .map(|line| {
            (line["method"].as_str().unwrap(), line["path"].as_str().unwrap(), line["code"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(said, [("GET", "/_ping", 200), ("POST", "/volumes/create", 201), ("GET", "/absent%0A", 404)]);
    assert_eq!(lines.last().unwrap()["msg"], "stopped");
}

#[test]
fn metrics_tell_what_it_does() {
    let host = Host::new();
    let served = Served::start(&host, &["--metrics", "127.0.0.1:0"]);
    served.ask("POST", "/v1.45/volumes/create", r#"{"Name":"data"}"#).unwrap();
    served.ask("GET", "/nowhere", "").unwrap();
    let (code, metrics) = served.ask("GET", "/metrics", "").unwrap();
    assert_eq!(code, 200);
    for line in [
        "cradle_containers{state=\"running\"} 0",
        "cradle_http_requests_total{method=\"POST\",route=\"/volumes/create\",code=\"201\"} 1",
        "cradle_http_requests_total{method=\"\",route=\"/other\",code=\"404\"} 1",
        "cradle_events_total{type=\"volume\",action=\"create\"} 1",
        "cradle_container_start_seconds_count 0",
        "cradle_volumes 1",
        "cradle_http_connections 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in\n{metrics}");
    }
    // Each family is explained once, in front of its values.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(metrics.contains(&format!("# TYPE {family} ")), "{line}");
    }
    let address = served.address("metrics=");
    let connect = || std::net::TcpStream::connect(&address).unwrap();
    assert!(ask(connect(), "GET", "/metrics", "").unwrap().1.contains("cradle_volumes 1"));
    assert_eq!(ask(connect(), "GET", "/volumes", "").unwrap().0, 404);
}

#[test]
fn a_socket_can_be_passed() {
    let host = Host::new();
    let path = host.path("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut shell = Command::new("sh");
    host.set_up(&mut shell);
    let kcradle = env!("CARGO_BIN_EXE_kcradle");
    let script =
        format!("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {kcradle} serve --state state");
    shell.args(["-c", &script]).stdin(Stdio::from(OwnedFd::from(listener)));
    let served = Served::spawn(&host, shell, &[]);
    assert_eq!(served.ask("GET", "/_ping", "").unwrap().0, 200);
    let (code, log) = served.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(path.exists(), "it belongs to whoever has made it");
}

/// An authority, and certificates of a daemon and a client that it has signed; a client that signs for itself.
fn certificates(dir: &Path) {
    let script = r#"set -e
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $1-key.pem -subj /CN=$1 "${@:2}" 2>/dev/null; }
        new ca -x509 -out ca.pem -addext basicConstraints=critical,CA:TRUE
        new other -x509 -out other.pem
        for name in server client; do
          new $name -out $name.csr
          printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' $name >$name.ext
          openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile $name.ext -out $name.pem 2>/dev/null
        done"#;
    assert!(Command::new("bash").args(["-c", script]).current_dir(dir).status().unwrap().success());
}

#[test]
fn over_tcp_only_clients_with_a_certificate_are_served() {
    let host = Host::new();
    certificates(&host.path(""));
    let tls = ["--tls-cert", "server.pem", "--tls-key", "server-key.pem", "--tls-ca", "ca.pem"];
    let served = Served::start(&host, &[&["--tcp", "127.0.0.1:0"], &tls[..]].concat());
    let address = served.address("tcp=");
    let docker = |certificate: &str, key: &str| {
        let mut docker = Command::new("docker");
        docker.args(["-H", &format!("tcp://{address}"), "--tlsverify", "--tlscacert", "ca.pem"]);
        docker.args(["--tlscert", certificate, "--tlskey", key, "volume", "create", "data"]);
        docker.current_dir(host.path("")).env("DOCKER_CONFIG", host.path("client")).output().unwrap()
    };
    let good = docker("client.pem", "client-key.pem");
    assert_eq!(String::from_utf8_lossy(&good.stdout), "data\n", "{}", String::from_utf8_lossy(&good.stderr));
    assert!(!docker("other.pem", "other-key.pem").status.success());
    let without = ask(std::net::TcpStream::connect(&address).unwrap(), "GET", "/_ping", "");
    assert!(without.is_err(), "{without:?}");
    let (_, log) = served.stop();
    assert!(log.contains("a client was refused"), "{log}");
    for missing in [&tls[..4], &tls[2..], &[]] {
        let ended = host.command(&["serve", "--tcp", "127.0.0.1:0"]).args(missing).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "there is no way without");
    }
}

#[test]
fn the_manual_and_the_units_are_sound() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manual = std::fs::read_to_string(tree.join("dist/kcradle-serve.8")).unwrap().replace('\\', "");
    let host = Host::new();
    let help = String::from_utf8(host.command(&["serve", "--help"]).output().unwrap().stdout).unwrap();
    let flags = help.split_whitespace().filter(|word| word.starts_with("--") && *word != "--help");
    let missing: Vec<_> = flags.filter(|flag| !manual.contains(flag.trim_end_matches([',', '.']))).collect();
    assert!(missing.is_empty(), "not in the manual: {missing:?}");
    if let Ok(linted) = Command::new("man")
        .args(["--warnings", "-l", "-Tutf8"])
        .arg(tree.join("dist/kcradle-serve.8"))
        .output()
    {
        assert!(linted.stderr.is_empty(), "{}", String::from_utf8_lossy(&linted.stderr));
    }
    for unit in ["cradle.service", "cradle.socket"] {
        let text = std::fs::read_to_string(tree.join("dist").join(unit)).unwrap();
        std::fs::write(
            host.path(unit),
            text.replace("/usr/local/bin/kcradle", env!("CARGO_BIN_EXE_kcradle")),
        )
        .unwrap();
    }
    let units = [host.path("cradle.service"), host.path("cradle.socket")];
    // Hosts without systemd have nothing to check them with.
    if let Ok(verified) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output() {
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}
