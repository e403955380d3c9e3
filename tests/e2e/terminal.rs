//! `-t`: the container's process has a terminal, which follows the user's.

use tests::{Host, Terminal, images};

#[test]
fn a_terminal_is_one_on_both_sides() {
    let host = Host::shared();
    let pod = host.summon(&["-t", "-i"], &images::layout("busybox"), &["sh"]);
    let mut terminal = Terminal::start(&pod.command(&[]), 33, 77);
    // The quotes keep the echo of what is typed from matching.
    terminal.type_in("test -t 0 && test -t 1 && test -t 2 && echo 'is'-a-tty; stty size; tty\n");
    terminal.wait_for("is-a-tty");
    terminal.wait_for("33 77");
    terminal.wait_for("/dev/pts/");
    terminal.type_in("trap 'stty size; echo 're'sized' WINCH; echo 're'ady\n");
    terminal.wait_for("ready");
    terminal.resize(44, 99);
    terminal.type_in("until test \"$(stty size)\" = '44 99'; do sleep 0.05; done; echo 'fol'lowed\n");
    terminal.wait_for("followed");
    terminal.type_in("exit 5\n");
    assert_eq!(terminal.end().1, Some(5));
}

#[test]
fn control_c_reaches_the_process_in_the_container() {
    let host = Host::shared();
    let script = "trap 'echo inter''rupted; exit 4' INT; echo re''ady; while :; do sleep 0.1; done";
    let pod = host.summon(&["-t", "-i"], &images::layout("busybox"), &["sh", "-c", script]);
    let mut terminal = Terminal::start(&pod.command(&[]), 24, 80);
    terminal.wait_for("ready");
    terminal.type_in("\x03");
    terminal.wait_for("interrupted");
    assert_eq!(terminal.end().1, Some(4));
}

#[test]
fn without_t_there_is_no_terminal() {
    let host = Host::shared();
    let pod = host.summon(
        &["-i"],
        &images::layout("busybox"),
        &["sh", "-c", "test -t 0 || test -t 1; echo $?; tty"],
    );
    let ended = pod.feed(b"");
    assert_eq!((ended.code, ended.out().as_str()), (Some(1), "1\nnot a tty\n"));
}
