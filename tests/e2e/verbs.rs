//! `kcradle logs|attach|exec|cp|ps|top|stats|inspect`: what they do without any docker client.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::Value;
use tests::{Ended, Host, Terminal, images};

#[test]
fn a_pod_is_looked_after_without_docker() {
    let host = Host::shared();
    // Two streams have an order between them only where one is read before the other is written.
    let script = "trap 'echo usr' USR1; trap 'exit 4' TERM; echo out; echo err >&2; \
                  until [ -e /tmp/go ]; do sleep 0.1; done; echo ready; while :; do sleep 0.1; done";
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let stopped = Ended::of(&mut pod.verb("logs", &[]));
    assert!(
        stopped.code == Some(1) && stopped.err().contains("hint: start it with `kcradle run"),
        "{}",
        stopped.err()
    );
    // The commands wait for a pod that is being started.
    let mut running = pod.start();
    running.wait_for("out");
    let run = |verb: &str, arguments: &[&str]| Ended::of(&mut pod.verb(verb, arguments));
    while run("logs", &[]).err() != "err\n" {}
    assert_eq!(run("exec", &["touch", "/tmp/go"]).code, Some(0));
    running.wait_for("ready");

    let logs = run("logs", &[]);
    assert_eq!((logs.out().as_str(), logs.err().as_str()), ("out\nready\n", "err\n"));
    assert_eq!(run("logs", &["-n", "1"]).good(), "ready\n");
    assert_eq!(run("logs", &["--since", "1h", "-c", "container.0", "-n1"]).good(), "ready\n");
    assert!(run("logs", &["-t", "-n1"]).good().ends_with("Z ready\n"));
    assert!(run("logs", &["-c", "nobody"]).err().contains("No such container: nobody"));
    assert!(run("ps", &[]).good().contains("web"));
    assert!(run("top", &[]).good().contains("sleep 0.1"));
    assert!(run("stats", &["--no-stream"]).good().contains(" web "));
    let inspect: Value = serde_json::from_str(&run("inspect", &[]).good()).unwrap();
    assert_eq!(inspect[0]["Name"], "/web");

    for (arguments, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["-c", "web", "no-such-program"], 127),
        (&["/etc"], 126),
        (&["-d", "true"], 0),
    ] {
        assert_eq!(run("exec", arguments).code, Some(code), "{arguments:?}");
    }
    let ended = run(
        "exec",
        &["-e", "A=1", "-u", "5:6", "-w", "/tmp", "sh", "-c", "echo $A $(id -u) $(id -g) $(pwd); echo e >&2"],
    );
    assert_eq!((ended.good().as_str(), ended.err().as_str()), ("1 5 6 /tmp\n", "e\n"));
    let mut cat = pod.verb("exec", &["-i", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, sent) = (cat.stdin.take().unwrap(), vec![b'x'; 300_000]);
    let writer = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 300_000]).unwrap());
    let mut received = Vec::new();
    cat.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent && cat.wait().unwrap().success());

    let folder = host.folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let inside = |path: &str| format!("{}:{path}", pod.name());
    let cp = |arguments: &[&str]| Ended::of(&mut host.kcradle([&["cp"], arguments].concat()));
    std::fs::create_dir_all(folder.join("tree/sub")).unwrap();
    std::fs::write(folder.join("tree/sub/f"), "f").unwrap();
    let said = cp(&[&path("tree"), &inside("/tmp")]);
    assert!(said.code == Some(0) && said.err().starts_with("Successfully copied "), "{}", said.err());
    assert_eq!(cp(&["-q", &path("tree/."), &inside("/new")]).good(), "");
    assert_eq!(run("exec", &["cat", "/tmp/tree/sub/f", "/new/sub/f"]).good(), "ff");
    assert_eq!(cp(&["-q", &inside("/tmp/tree"), &path("back")]).good(), "");
    assert_eq!(std::fs::read_to_string(folder.join("back/sub/f")).unwrap(), "f");
    assert_eq!(&cp(&[&inside("/tmp/tree"), "-"]).stdout[257..262], b"ustar");
    assert_eq!(cp(&[&inside("/none"), &path("x")]).code, Some(1));
    assert_eq!(cp(&[&path("tree/sub/f"), &inside("/none/x")]).code, Some(1));

    // At a terminal: size, its changes, the keys that leave, and the terminal as it was.
    let shell = pod.verb("exec", &["-it", "sh"]);
    let script = format!(
        "stty -g >{0}/1; {1}; echo code=$?; stty -g >{0}/2; cmp {0}/1 {0}/2 && echo restored",
        folder.display(),
        line(&shell)
    );
    let mut user = std::process::Command::new("sh");
    user.args(["-c", &script]).env("CRADLE_HOME", host.home());
    let mut terminal = Terminal::start(&user, 30, 100);
    terminal.type_in("stty size\n");
    terminal.wait_for("30 100");
    terminal.resize(40, 120);
    terminal.type_in("until test \"$(stty size)\" = '40 120'; do sleep 0.05; done; echo fol''lowed\n");
    terminal.wait_for("followed");
    terminal.type_in("\x10\x11");
    terminal.wait_for("read escape sequence");
    terminal.wait_for("code=1");
    terminal.wait_for("restored");
    terminal.end();

    // Also where a signal ends it.
    let shell = pod.verb("exec", &["-it", "sh", "-c", "echo be''gun; exec sleep 1000"]);
    let script = format!(
        "stty -g >{0}/1; sh -c \"echo \\$\\$ >{0}/pid; exec {1}\"; echo code=$?; stty -g >{0}/2; cmp {0}/1 {0}/2 && echo restored",
        folder.display(),
        line(&shell)
    );
    let mut user = std::process::Command::new("sh");
    user.args(["-c", &script]).env("CRADLE_HOME", host.home());
    let mut terminal = Terminal::start(&user, 30, 100);
    terminal.wait_for("begun");
    let process: i32 = std::fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    terminal.wait_for("code=143");
    terminal.wait_for("restored");
    terminal.end();

    let mut attached = pod.verb("attach", &["--no-stdin"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut follower = pod.verb("logs", &["-f", "-n0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = follower.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut word = [0; 4];
        followed.read_exact(&mut word).unwrap();
        word
    });
    // Nobody tells when a follower is there.
    while !reader.is_finished() {
        assert_eq!(run("exec", &["sh", "-c", "kill -USR1 1"]).code, Some(0));
    }
    assert_eq!(&reader.join().unwrap(), b"usr\n");
    host.succeed(&["stop", pod.name()]);
    assert_eq!(attached.wait().unwrap().code(), Some(4));
    follower.wait().unwrap();
    assert_eq!(running.end().code, Some(4));
}

/// A command as a line of a shell.
fn line(command: &std::process::Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}
