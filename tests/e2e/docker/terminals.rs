//! The client at a terminal: sizes, Ctrl-C, the keys that leave, and who comes back.

use tests::{Host, Terminal, images};

#[test]
fn a_terminal_is_joined_left_and_joined_again() {
    let host = Host::shared();
    let script = "
        trap 'echo re'sized' $(stty size)' WINCH; trap 'echo inter'rupted INT
        echo ready
        while :; do read line && echo \"got $line\"; test \"$line\" = end && exit 5; done";
    let pod = host.summon(&["-it", "--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let mut first = Terminal::start(&pod.command(&[]), 24, 80);
    first.wait_for("ready");
    let docker = tests::Docker::of(&pod);

    let mut terminal = Terminal::start(&docker.command(&["attach", "web"]), 33, 77);
    terminal.type_in("one\n");
    terminal.wait_for("got one");
    terminal.resize(44, 99);
    terminal.type_in("size\n");
    terminal.wait_for("resized 44 99");
    terminal.type_in("\x03\n");
    terminal.wait_for("interrupted");
    terminal.type_in("\x10\x11");
    let (rest, code) = terminal.end();
    assert!(rest.contains("read escape sequence") && code == Some(1), "{rest:?} {code:?}");

    // A shell beside it, whose Ctrl-C is its own.
    let mut shell = Terminal::start(&docker.command(&["exec", "-it", "web", "sh"]), 30, 100);
    shell.type_in("stty size\n");
    shell.wait_for("30 100");
    shell.resize(40, 120);
    shell.type_in("until test \"$(stty size)\" = '40 120'; do sleep 0.05; done; echo fol''lowed\n");
    shell.wait_for("followed");
    shell.type_in("sh -c \"echo go''ing; exec sleep 1000\"\n");
    shell.wait_for("going");
    shell.type_in("\x03");
    shell.type_in("echo st''ill; exit 6\n");
    shell.wait_for("still");
    assert_eq!(shell.end().1, Some(6));
    // And one that is left alone.
    let mut shell =
        Terminal::start(&docker.command(&["exec", "-it", "--detach-keys", "ctrl-x,x", "web", "sh"]), 30, 100);
    shell.type_in(
        "touch /tmp/mark; echo be''gun; while test -e /tmp/mark; do sleep 0.1; done; touch /tmp/done\n",
    );
    shell.wait_for("begun");
    shell.type_in("\x18x");
    assert_eq!(shell.end().1, Some(1));
    docker.shell("web", "rm /tmp/mark; until test -e /tmp/done; do sleep 0.05; done");

    let mut terminal = Terminal::start(&docker.command(&["attach", "web"]), 24, 80);
    terminal.type_in("end\n");
    terminal.wait_for("got end");
    assert_eq!(terminal.end().1, Some(5));
    first.wait_for("got end");
    assert_eq!(first.end().1, Some(5));
}
