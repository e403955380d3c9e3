//! `docker exec -it` and `docker attach` at a terminal.

use serde_json::json;

use crate::pod::{Pod, spec_json};
use crate::terminal::Terminal;

fn shell() -> Pod {
    let mut spec = spec_json("web", &["sh", "-i"]);
    spec["process"]["tty"] = json!(true);
    spec["process"]["stdin"] = json!(true);
    spec["process"]["cmd"] =
        json!(["sh", "-c", "while read line; do echo got $line; test $line != end || exit 5; done"]);
    Pod::start(vec![spec])
}

#[test]
fn exec_has_the_size_of_the_terminal_and_its_changes() {
    let pod = Pod::of(&["sleep", "1000"]);
    let size = "stty size; while read line; do set -- $(stty size); test $1 -lt 40 || grown=$*; echo =$line $grown=; done";
    let mut terminal = Terminal::start(&pod.command(&["exec", "-it", "web", "sh", "-c", size]), 30, 100);
    terminal.wait_for("30 100");
    // The client may show what a program writes before it listens to changes of its terminal.
    for rows in 40..90 {
        terminal.resize(rows, 120);
        terminal.type_in(&format!("{rows}\n"));
        terminal.wait_for(&format!("={rows}"));
    }
    terminal.type_in("last\n");
    terminal.wait_for("=last ");
    terminal.wait_for(" 120=");
}

#[test]
fn control_c_reaches_the_program() {
    let pod = Pod::of(&["sleep", "1000"]);
    let program = "trap 'echo stopped; exit 8' INT; echo ready; while :; do sleep 0.02; done";
    let mut terminal = Terminal::start(&pod.command(&["exec", "-it", "web", "sh", "-c", program]), 24, 80);
    terminal.wait_for("ready");
    terminal.type_in("\u{3}");
    terminal.wait_for("stopped");
    assert_eq!(terminal.end().1, Some(8));
}

#[test]
fn detach_keys_leave_the_container_running() {
    let pod = shell();
    let mut terminal = Terminal::start(&pod.command(&["attach", "web"]), 24, 80);
    terminal.type_in("one\n");
    terminal.wait_for("got one");
    terminal.type_in("\u{10}\u{11}");
    let (rest, code) = terminal.end();
    // That it ended without the container is an error in this client's eyes.
    assert!(rest.contains("read escape sequence") && code == Some(1), "{rest:?} {code:?}");
    let mut terminal = Terminal::start(&pod.command(&["attach", "web"]), 24, 80);
    terminal.type_in("end\n");
    terminal.wait_for("got end");
    assert_eq!(terminal.end().1, Some(5));
}

#[test]
fn a_program_can_have_a_terminal_where_the_client_has_none() {
    let pod = Pod::of(&["sleep", "1000"]);
    let done = pod.docker(&["exec", "-t", "web", "sh", "-c", "test -t 1 && echo terminal"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "terminal\r\n"), "{}", done.stderr);
}
