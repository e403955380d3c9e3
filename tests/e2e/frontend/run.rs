//! `docker run` in its forms, and `exec`: what goes in, what comes out, and with which code.

use std::io::{Read as _, Write as _};

use tests::{Daemon, Host, Terminal};

#[test]
fn streams_and_codes_are_the_programs() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let ended = docker.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((ended.code, ended.out().as_str(), ended.err().as_str()), (Some(3), "out\n", "err\n"));
    for (arguments, code, words) in [
        (&["no-such-program"][..], 127, "executable file not found"),
        (&["/etc"], 126, ""),
        (&["-w", "relative", "true"], 125, "needs to be an absolute path"),
        (&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
    ] {
        let (options, command) = arguments.split_at(if arguments[0] == "-w" { 2 } else { 0 });
        let ended = docker.run(&[&["run", "--rm"], options, &["busybox"], command].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err());
        assert!(ended.err().contains(words), "{arguments:?}: {}", ended.err());
    }
    // Those that are removed at their end are gone, those too that never ran.
    assert_eq!(docker.good(&["ps", "-aq"]), "");
    assert!(docker.refused(&["run", "--pull", "never", "no-such-image"], 125).contains("No such image"));
    docker.good(&["create", "--name", "taken", "busybox", "true"]);
    let again = docker.refused(&["create", "--name", "taken", "busybox", "true"], 1);
    assert!(again.contains("The container name \"/taken\" is already in use by container"), "{again}");
}

#[test]
fn input_reaches_the_program_to_its_end() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    // All of it, and its end, come before the start.
    let mut client = docker.start(&["run", "-i", "--rm", "busybox", "sh", "-c", "wc -c; echo end"]);
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 3 << 20]).unwrap();
    drop(stdin);
    let output = client.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"3145728\nend\n"[..]));
    // A program that ends while its input is open takes the client along.
    let mut client = docker.start(&["run", "-i", "--rm", "busybox", "sh", "-c", "echo bye; exit 4"]);
    let open = client.stdin.take();
    let mut said = String::new();
    client.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), client.wait().unwrap().code()), ("bye\n", Some(4)));
    drop(open);
    // As much comes out as went in.
    let out = docker.run(&["run", "--rm", "busybox", "sh", "-c", "head -c 20000000 /dev/zero"]);
    assert_eq!((out.code, out.stdout.len()), (Some(0), 20_000_000));
}

#[test]
fn options_are_obeyed() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let script = "id -u; pwd; hostname; echo $A; ulimit -n; touch /x 2>&1; grep CapEff /proc/self/status; \
        df /dev/shm | tail -n 1; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max; \
        grep NoNewPrivs /proc/self/status; echo in >/memory/x; cat /etc/hosts";
    let said = docker.good(&[
        "run",
        "--rm",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "-u",
        "1000",
        "--hostname",
        "inside",
        "--tmpfs",
        "/memory:mode=1777",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--ulimit",
        "nofile=99",
        "--pids-limit",
        "30",
        "--shm-size",
        "1m",
        "--security-opt",
        "no-new-privileges",
        "--add-host",
        "other:10.1.2.3",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..5], ["1000", "/tmp", "inside", "b", "99"], "{said}");
    assert!(lines[5].contains("Read-only file system"), "{said}");
    assert!(lines[6].ends_with("0000000000000000"), "{said}");
    assert_eq!(lines[7].split_whitespace().nth(1), Some("1024"), "{said}");
    assert_eq!(lines[8..11], ["67108864", "30", "50000 100000"], "{said}");
    assert!(lines[11].ends_with('1') && said.contains("10.1.2.3\tother"), "{said}");
    // What a volume has outlives its containers; who has none by name gets one of his own.
    docker.good(&[
        "run",
        "--rm",
        "-v",
        "data:/data",
        "-v",
        "/own",
        "busybox",
        "sh",
        "-c",
        "echo kept >/data/file",
    ]);
    assert_eq!(
        docker.good(&["run", "--rm", "-v", "data:/data:ro", "busybox", "cat", "/data/file"]),
        "kept\n"
    );
    assert_eq!(docker.good(&["volume", "ls", "-q"]), "data\n");
    let missing = ["run", "--rm", "--mount", "type=bind,src=/not/there,dst=/srv", "busybox", "true"];
    let refused = docker.refused(&missing, 125);
    assert!(refused.contains("bind source path does not exist: /not/there"), "{refused}");
}

#[test]
fn terminals_follow_the_clients() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let command = docker.command(&["run", "-it", "--rm", "--name", "web", "busybox", "sh"]);
    let mut terminal = Terminal::start(&command, 30, 100);
    terminal.wait_for("/ #");
    // The client tells the size after the start.
    terminal.type_in("until test \"$(stty size)\" = '30 100'; do sleep 0.1; done; echo si''zed\n");
    terminal.wait_for("sized");
    // The client sends SIGWINCH too, which ends nothing.
    terminal.resize(40, 120);
    terminal.type_in("until test \"$(stty size)\" = '40 120'; do sleep 0.1; done; echo fol''lowed\n");
    terminal.wait_for("followed");
    let mut shell = Terminal::start(&docker.command(&["exec", "-it", "web", "sh"]), 20, 60);
    shell.wait_for("/ #");
    shell.type_in("exit 6\n");
    assert_eq!(shell.end().1, Some(6));
    // Left with the keys for that, it goes on, and can be come back to.
    terminal.type_in("\x10\x11");
    assert_eq!(terminal.end().1, Some(0));
    assert_eq!(docker.good(&["inspect", "--format", "{{.State.Running}}", "web"]), "true\n");
    let attach = docker.command(&["attach", "--detach-keys", "ctrl-x,y", "web"]);
    let mut terminal = Terminal::start(&attach, 30, 100);
    terminal.type_in("echo st''ill\n");
    terminal.wait_for("still");
    terminal.type_in("\x18y");
    // This client takes it for an error.
    let (said, code) = terminal.end();
    assert!(said.contains("read escape sequence") && code == Some(1), "{said}: {code:?}");
    let mut terminal = Terminal::start(&docker.command(&["attach", "web"]), 30, 100);
    terminal.type_in("echo ba''ck; exit 5\n");
    terminal.wait_for("back");
    assert_eq!(terminal.end().1, Some(5));
    assert_eq!(docker.good(&["ps", "-aq"]), "");
}

#[test]
fn programs_are_run_beside_the_first() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    for (arguments, code) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["no-such-program"], 127),
        (&["/etc"], 126),
    ] {
        let ended = docker.run(&[&["exec", "web"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err());
    }
    assert_eq!(docker.shell("web", "for i in 1 2 3; do echo $i; sleep 1; done"), "1\n2\n3\n");
    let mut client = docker.start(&["exec", "-i", "web", "cat"]);
    client.stdin.take().unwrap().write_all(b"through").unwrap();
    assert_eq!(client.wait_with_output().unwrap().stdout, b"through");
    // What ends with its container has a code all the same.
    let mut client = docker.start(&["exec", "web", "sh", "-c", "echo on; sleep 1000"]);
    let mut begun = [0; 3];
    client.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    docker.good(&["kill", "web"]);
    assert_eq!(client.wait().unwrap().code(), Some(137));
    assert!(docker.refused(&["exec", "web", "true"], 1).contains("is not running"));
}
