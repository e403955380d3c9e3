//! Many clients at once, clients that do not read, and clients that die: nothing hangs, nothing is left behind.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use tests::{Docker, Host, Running};

use super::scripted;

/// What the guest as a whole and the VMM hold.
#[derive(Debug)]
struct Held {
    /// Open files of the guest's kernel.
    files: u64,
    /// Processes and threads of the guest.
    tasks: u64,
    /// Memory of the guest that is not available, in KiB.
    memory: u64,
    /// Descriptors of the VMM.
    descriptors: usize,
    /// Memory of the VMM that is not the guest's, in KiB.
    resident: u64,
}

/// A reading.
fn held(docker: &Docker, running: &Running) -> Held {
    let script = "cut -f1 /proc/sys/fs/file-nr; cut -d/ -f2 /proc/loadavg | cut -d' ' -f1; \
                  awk '/MemTotal/{t=$2} /MemAvailable/{print t-$2}' /proc/meminfo";
    let text = docker.shell("web", script);
    let numbers: Vec<u64> = text.lines().map(|line| line.trim().parse().unwrap()).collect();
    let process = format!("/proc/{}", running.pid().as_raw_nonzero());
    Held {
        files: numbers[0],
        tasks: numbers[1],
        memory: numbers[2],
        descriptors: std::fs::read_dir(Path::new(&process).join("fd")).unwrap().count(),
        resident: own_memory(&process),
    }
}

/// Anonymous memory of a process but for its large mappings, which are the guest's, in KiB.
fn own_memory(process: &str) -> u64 {
    const LARGE: u64 = 16 << 10;
    let maps = std::fs::read_to_string(format!("{process}/smaps")).unwrap();
    let (mut size, mut sum) = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next().and_then(|number| number.parse::<u64>().ok())) {
            (Some("Size:"), Some(number)) => size = number,
            (Some("Anonymous:"), Some(number)) if size < LARGE => sum += number,
            _ => {}
        }
    }
    sum
}

#[test]
fn nothing_is_left_of_clients_that_come_and_go() {
    let host = Host::shared();
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.2; done";
    let mut served = scripted(&host, &["--memory", "512m"], script);
    let docker = &served.docker;
    docker.shell("web", "dd if=/dev/zero of=/big bs=1M count=24 2>/dev/null");
    // Once before it is counted: what is made at the first use stays.
    docker.good(&["cp", "-q", "web:/big", host.folder().join("big").to_str().unwrap()]);
    let before = held(docker, &served.running);

    // Fifty programs side by side, each with its own code; ten of them docker's, which take long to start.
    let programs: Vec<_> = (0..50)
        .map(|number| {
            let script = format!("read x; echo {number}; exit {number}");
            if number < 10 {
                return docker.start(&["exec", "-i", "web", "sh", "-c", &script]);
            }
            let mut command = served.pod.verb("exec", &["-i", "sh", "-c", &script]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for (number, program) in programs.into_iter().enumerate() {
        let output = program.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            (out, output.status.code()),
            (format!("{number}\n"), Some(i32::try_from(number).unwrap()))
        );
    }

    // Hundreds of connections: some ask, some say nothing, half a word or nonsense, and all go.
    let socket = served.pod.path().join("docker.sock");
    let mut connections: Vec<_> = (0..300).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        let words: &[u8] = match number % 4 {
            0 => b"GET /_ping HTTP/1.1\r\nHost: pod\r\n\r\n",
            1 => b"",
            2 => b"POST /v1.50/containers/web/exec HT",
            _ => b"\x16\x03\x01\x02 no HTTP at all\r\n\r\n",
        };
        // Nonsense may be answered by an end before all of it is there.
        let _ = connection.write_all(words);
    }
    // Those beyond the limit are told so.
    let answer = |connection: &mut UnixStream| {
        let mut status = [0; 12];
        connection.read_exact(&mut status).unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    let answers: BTreeSet<_> = connections.iter_mut().step_by(4).map(answer).collect();
    assert_eq!(answers.iter().map(String::as_str).collect::<Vec<_>>(), ["HTTP/1.1 200", "HTTP/1.1 503"]);
    drop(connections);

    // A flood, with a reader that pauses: the others go on, and the reader gets it all.
    let mut flood = docker.start(&["exec", "web", "sh", "-c", "seq 1 400000"]);
    let mut paused = BufReader::new(flood.stdout.take().unwrap());
    let mut line = String::new();
    paused.read_line(&mut line).unwrap();
    for _ in 0..3 {
        assert_eq!(docker.shell("web", "echo alive"), "alive\n");
    }
    let rest = paused.lines().map(Result::unwrap).last();
    assert_eq!((line.as_str(), rest.as_deref()), ("1\n", Some("400000")));
    assert!(flood.wait().unwrap().success());

    // Copies whose client is killed: before a byte came, within, near the end; and in the other direction.
    for bytes in [0, 1 << 10, 20 << 20] {
        let mut copy = docker.start(&["cp", "web:/big", "-"]);
        let mut buffer = vec![0; bytes];
        copy.stdout.take().unwrap().read_exact(&mut buffer).unwrap();
        copy.kill().unwrap();
        copy.wait().unwrap();
    }
    let big = std::fs::read(host.folder().join("big")).unwrap();
    for bytes in [0, 100, 20 << 20] {
        let mut copy = docker.start(&["cp", "-", "web:/tmp"]);
        let mut archive = header("copied", big.len());
        archive.extend_from_slice(&big);
        // A client that is killed does not read on.
        let _ = copy.stdin.take().unwrap().write_all(&archive[..bytes]);
        copy.kill().unwrap();
        copy.wait().unwrap();
    }
    // Streams whose client is killed.
    for arguments in [
        &["logs", "-f", "web"][..],
        &["stats", "web"],
        &["events"],
        &["exec", "-i", "web", "cat"],
        &["attach", "web"],
        &["wait", "web"],
    ] {
        let mut client = docker.start(arguments);
        docker.shell("web", "true");
        client.kill().unwrap();
        client.wait().unwrap();
    }
    // What an exec's client leaves behind is the user's to end.
    docker.shell("web", "killall cat 2>/dev/null; rm -f /tmp/copied*");

    // What has just ended takes a moment to be gone, as do the connections of the readings themselves.
    let within = |after: &Held| {
        after.tasks <= before.tasks + 2
            // Linux counts open files in steps of 32.
            && after.files <= before.files + 32
            && after.descriptors <= before.descriptors
            && after.memory <= before.memory + (16 << 10)
            && after.resident <= before.resident + (8 << 10)
    };
    let after: Vec<_> =
        (0..10).map(|_| held(docker, &served.running)).take_while(|after| !within(after)).collect();
    assert!(after.len() < 10, "{before:?}, and then {after:?}");
    assert_eq!(docker.good(&["stop", "web"]), "web\n");
    assert_eq!(served.running.end().code, Some(0));
}

/// The header of a file in an archive.
fn header(name: &str, length: usize) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{length:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
