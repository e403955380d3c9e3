//! `docker run --init`: an init is the container's PID 1 and the program its child, with the same rights.

use tests::{Daemon, Host, Terminal};

/// What the init may do and what it has, compared with the program's; and that it reaps orphans.
const LOOK: &str = r#"tr '\0' ' ' </proc/1/cmdline; echo; cat /proc/1/comm
    rights() { grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/$1/status; }
    [ "$(rights 1)" = "$(rights self)" ] && [ $$ != 1 ] && echo same rights
    echo $(ls /proc/1/fd)
    (echo >/proc/1/exe) 2>&1 | grep -qE 'Read-only|Text file busy|ermission denied' && echo not written
    orphan=$( (true >/dev/null & echo $!) ); while [ -e /proc/$orphan ]; do sleep 0.1; done; echo reaped"#;

#[test]
fn an_init_is_no_more_than_its_program() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    for user in ["0", "1000"] {
        let said = docker.good(&["run", "--rm", "--init", "-u", user, "busybox", "sh", "-c", LOOK]);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].starts_with("/sbin/docker-init -- sh -c tr"), "{said}");
        let rest = &said[said.find("\ndocker-init\n").unwrap_or_else(|| panic!("{said}"))..];
        assert_eq!(rest, "\ndocker-init\nsame rights\n0 1 2\nnot written\nreaped\n", "{said}");
    }
    for (command, code) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["no-such-program"], 127),
        (&["/etc"], 126),
    ] {
        let ended = docker.run(&[&["run", "--rm", "--init", "busybox"], command].concat());
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.err());
    }
}

#[test]
fn signals_reach_what_an_init_has_started() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let code = |name: &str| docker.good(&["inspect", "--format", "{{.State.ExitCode}}", name]);
    // As PID 1 it would not be ended by the signal, but killed a minute later.
    docker.good(&["run", "-d", "--init", "--name", "asleep", "busybox", "sleep", "1000"]);
    assert_eq!(docker.good(&["inspect", "--format", "{{.HostConfig.Init}}", "asleep"]), "true\n");
    assert_eq!(docker.good(&["exec", "asleep", "cat", "/proc/1/comm"]), "docker-init\n");
    let top = docker.good(&["top", "asleep", "-o", "pid,args"]);
    assert!(top.contains("/sbin/docker-init -- sleep 1000") && top.contains(" sleep 1000\n"), "{top}");
    docker.good(&["stop", "-t", "60", "asleep"]);
    assert_eq!(code("asleep"), "143\n");
    docker.good(&["start", "asleep"]);
    docker.good(&["kill", "asleep"]);
    assert_eq!(code("asleep"), "137\n");
}

#[test]
fn a_terminal_speaks_to_what_an_init_has_started() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let init = ["run", "-it", "--rm", "--init", "busybox", "sh"];
    let mut terminal = Terminal::start(&docker.command(&init), 30, 100);
    terminal.wait_for("/ #");
    terminal.resize(40, 120);
    terminal
        .type_in("until test \"$(stty size)\" = '40 120'; do sleep 0.1; done; echo fol''lowed; sleep 1000\n");
    terminal.wait_for("followed");
    terminal.type_in("\x03");
    terminal.wait_for("/ #");
    terminal.type_in("exit 6\n");
    assert_eq!(terminal.end().1, Some(6));
    let program = [&init[..], &["-c", "echo ready; exec sleep 1000"]].concat();
    let mut terminal = Terminal::start(&docker.command(&program), 30, 100);
    terminal.wait_for("ready");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().1, Some(130));
}
