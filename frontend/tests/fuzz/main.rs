//! What a client may send to the daemon on one connection: each route with damaged paths, queries and bodies. The daemon has to
//! answer with a status that Docker's clients know, to stay alive, and to change nothing outside its own directories. There is
//! an image to create containers of, and no program that could run them; nothing leaves this machine.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use frontend::{Config, Daemon};
use fuzz::{Fuzz, shape};
use pod::{Home, Package};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use vdocker::Server;

/// For the daemon to say something.
const QUIET: Duration = Duration::from_secs(1);

/// Statuses that some route has for some request.
const KNOWN: [u16; 14] = [200, 201, 204, 304, 400, 403, 404, 405, 409, 413, 431, 500, 501, 503];

/// What would ask a registry.
const ABROAD: [&[u8]; 4] = [b"images/create", b"/push", b"/auth", b"/distribution"];

const REQUESTS: [(&str, &str); 52] = [
    ("HEAD /_ping", ""),
    ("GET /v1.50/version", ""),
    ("GET /v1.24/info", ""),
    ("GET /metrics", ""),
    ("GET /v1.50/system/df?type=image&type=container", ""),
    ("GET /v1.50/events?until=1&filters=%7B%22type%22%3A%5B%22container%22%5D%7D", ""),
    ("GET /v1.50/events", ""),
    ("GET /v1.50/plugins", ""),
    ("GET /v1.50/swarm", ""),
    (
        "GET /v1.50/containers/json?all=1&size=1&filters=%7B%22label%22%3A%7B%22tier%3Dfront%22%3Atrue%7D%7D",
        "",
    ),
    (
        "POST /v1.50/containers/create?name=web",
        r#"{"Image":"seed","Cmd":["sh","-c","true"],"Env":["A=b"],"Labels":{"tier":"front"}}"#,
    ),
    (
        "POST /v1.50/containers/create",
        r#"{"Image":"seed","Cmd":["x"],"Tty":true,"OpenStdin":true,"HostConfig":{"Memory":67108864,"NanoCpus":500000000,"Binds":["data:/data:ro"],"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"Tmpfs":{"/t":"size=1m"},"CapAdd":["NET_ADMIN"]},"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["x"]}}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}}"#,
    ),
    (
        "POST /v1.50/containers/create?name=db",
        r#"{"Image":"seed","Cmd":["x"],"HostConfig":{"Mounts":[{"Type":"volume","Source":"data","Target":"/var/lib"},{"Type":"tmpfs","Target":"/run","TmpfsOptions":{"SizeBytes":65536}}],"LogConfig":{"Type":"json-file"},"Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}],"Sysctls":{"net.ipv4.ip_forward":"1"},"AutoRemove":true}}"#,
    ),
    ("GET /v1.50/containers/web/json?size=0", ""),
    ("POST /v1.50/containers/web/wait?condition=next-exit", ""),
    ("POST /v1.50/containers/web/rename?name=other", ""),
    ("POST /v1.50/containers/other/rename?name=web", ""),
    ("POST /v1.50/containers/web/update", r#"{"Memory":134217728,"RestartPolicy":{"Name":"always"}}"#),
    ("POST /v1.50/containers/web/stop?t=2", ""),
    ("POST /v1.50/containers/web/kill?signal=SIGTERM", ""),
    ("POST /v1.50/containers/web/pause", ""),
    ("POST /v1.50/containers/web/resize?h=24&w=80", ""),
    ("GET /v1.50/containers/web/top?ps_args=-ef", ""),
    ("GET /v1.50/containers/web/stats?stream=0", ""),
    ("POST /v1.50/containers/web/exec", r#"{"Cmd":["sh"],"AttachStdout":true,"Tty":true}"#),
    ("POST /v1.50/exec/0a0a/start", r#"{"Detach":false,"Tty":false}"#),
    ("GET /v1.50/exec/0a0a/json", ""),
    ("DELETE /v1.50/containers/web?force=1&v=1", ""),
    ("POST /v1.50/containers/prune?filters=%7B%22until%22%3A%5B%221h%22%5D%7D", ""),
    ("GET /v1.50/images/json?all=1&shared-size=1&filters=%7B%22reference%22%3A%5B%22s*%22%5D%7D", ""),
    ("GET /v1.50/images/seed/json?manifests=1", ""),
    ("GET /v1.50/images/seed/history", ""),
    ("POST /v1.50/images/seed/tag?repo=localhost:5000/team/seed&tag=2", ""),
    ("DELETE /v1.50/images/localhost:5000/team/seed:2?force=1", ""),
    ("POST /v1.50/images/prune?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D", ""),
    ("GET /v1.50/images/get?names=seed", ""),
    ("POST /v1.50/images/load?quiet=1", "no archive"),
    ("GET /v1.50/images/search?term=x", ""),
    ("POST /v1.50/build?t=x", ""),
    ("POST /v1.50/build/prune", ""),
    (
        "POST /v1.50/volumes/create",
        r#"{"Name":"data","Driver":"local","DriverOpts":{"size":"64m"},"Labels":{"a":"b"}}"#,
    ),
    ("GET /v1.50/volumes?filters=%7B%22dangling%22%3A%5B%22true%22%5D%2C%22name%22%3A%5B%22d%22%5D%7D", ""),
    ("GET /v1.50/volumes/data", ""),
    ("DELETE /v1.50/volumes/data?force=1", ""),
    ("POST /v1.50/volumes/prune?filters=%7B%22all%22%3A%5B%221%22%5D%7D", ""),
    (
        "POST /v1.50/networks/create",
        r#"{"Name":"front","Driver":"bridge","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"10.9.0.0/16","Gateway":"10.9.0.1","IPRange":"10.9.1.0/24"}]},"Options":{"x":"y"}}"#,
    ),
    ("GET /v1.50/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D", ""),
    ("GET /v1.50/networks/front?verbose=true", ""),
    (
        "POST /v1.50/networks/front/connect",
        r#"{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.9.0.7"}}}"#,
    ),
    ("POST /v1.50/networks/front/disconnect", r#"{"Container":"web","Force":true}"#),
    ("DELETE /v1.50/networks/front", ""),
    ("POST /v1.50/networks/prune", ""),
];

const WORDS: [&str; 27] = [
    "\r\n\r\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Connection: Upgrade\r\nUpgrade: tcp\r\n",
    "HTTP/1.0",
    "/v1.50",
    "/v1.23",
    "/containers/",
    "/volumes/",
    "/networks/",
    "..",
    "%2e%2e%2f",
    "../../../../tmp/x",
    "/etc/passwd",
    "%00",
    "&filters=",
    "{\"",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "null",
    "[]",
    "-1",
    "1e999",
    "\"HostConfig\":",
    "\"Binds\":[\"/:/host\"]",
    "\u{202e}",
    "\\u0000",
];

fn request(line: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Sends a message, ends the client's side, and hears all that the daemon says.
async fn talk(server: &Server<Daemon>, input: &[u8]) -> Vec<u8> {
    let (client, socket) = UnixStream::pair().unwrap();
    let served = spawn_local({
        let server = server.clone();
        async move { server.serve_connection(socket).await }
    });
    let (mut reader, mut writer) = client.into_split();
    let input = input.to_vec();
    let sent = spawn_local(async move {
        // A daemon that has enough does not read on.
        let _ = writer.write_all(&input).await;
        let _ = writer.shutdown().await;
        writer
    });
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    // What lasts as long as its client, with bytes behind it that hide the client's end, is left.
    while let Ok(Ok(count @ 1..)) = timeout(QUIET, reader.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count.min(4096)]);
    }
    drop(reader);
    drop(sent.await.unwrap());
    timeout(Duration::from_secs(60), served)
        .await
        .expect("the connection ends")
        .expect("its task does not fail");
    assert_eq!((server.connections(), server.streams()), (0, 0));
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let head = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(head.get(..3)?).ok()?.parse().ok()
}

fn entries(dir: &Path) -> BTreeSet<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Bytes of memory that this process has in use.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn requests() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("package")).unwrap();
    let json = r#"{"version":3,"machine":"default","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"0"}}"#;
    for (file, text) in [("cradle.json", json), ("vmlinux", ""), ("initramfs", "")] {
        std::fs::write(at("package").join(file), text).unwrap();
    }
    std::fs::write(at("precious"), "precious").unwrap();
    let config = Config {
        state: at("home/serve"),
        images: at("home/store"),
        registries: image::Registries::default(),
        volumes: at("home/volumes"),
        templates: at("home/templates"),
        home: Home::at(at("home")),
        package: Package::open(&at("package")).unwrap(),
        program: at("absent"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = LocalSet::new();
    let server = tasks.block_on(&runtime, Daemon::start(config)).unwrap();
    let import = [request("POST /images/create?fromSrc=-&repo=seed", &"\0".repeat(1024))].concat();
    let answer = tasks.block_on(&runtime, talk(&server, &import));
    assert_eq!(status(&answer), Some(200), "{}", answer.escape_ascii());
    let image = tasks.block_on(&runtime, talk(&server, &request("GET /images/seed/json", "")));
    assert_eq!(status(&image), Some(200), "{}", answer.escape_ascii());
    let before = (entries(dir.path()), resident());
    let seeds = REQUESTS.iter().map(|(line, body)| request(line, body));
    Fuzz::new("daemon", seeds).words(WORDS).iterations(1500).run(|input| {
        if ABROAD.iter().any(|path| input.windows(path.len()).any(|bytes| bytes == *path)) {
            return 0;
        }
        let answer = tasks.block_on(&runtime, talk(&server, input));
        let code = status(&answer);
        assert!(
            answer.is_empty() || code.is_some_and(|code| KNOWN.contains(&code)),
            "{}",
            answer.escape_ascii()
        );
        let tail = answer.len().saturating_sub(24);
        shape((code, &answer[tail..]))
    });
    assert_eq!(entries(dir.path()), before.0, "nothing beside the daemon's directories");
    assert_eq!(std::fs::read_to_string(at("precious")).unwrap(), "precious");
    assert!(resident() < before.1 + (256 << 20), "{} bytes before, {} now", before.1, resident());
}
