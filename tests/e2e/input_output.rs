//! Standard streams and exit codes: what goes in and what comes out of a container.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use tests::{Host, images};

fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

#[test]
fn output_and_errors_stay_apart() {
    let host = Host::shared();
    let ended = host.summon(&[], &images::layout("busybox"), &sh("echo out; echo err >&2; printf end")).run();
    assert_eq!((ended.code, ended.out().as_str()), (Some(0), "out\nend"));
    assert_eq!(ended.err(), "err\n");
}

#[test]
fn every_byte_survives_both_ways() {
    let host = Host::shared();
    let pod = host.summon(&["-i"], &images::layout("busybox"), &["cat"]);
    // More than all buffers on the way together, and every byte value.
    let input: Vec<u8> = (0..1_000_003u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let ended = pod.feed(&input);
    assert_eq!(ended.code, Some(0), "{}", ended.err());
    assert!(ended.stdout == input, "{} of {} bytes came back, or others", ended.stdout.len(), input.len());
}

/// As in a pager: the container has ended long before its last output is read. The first size fits into the buffers
/// between it and the reader, so that its process ends during the pause; the second does not.
#[test]
fn a_reader_who_pauses_loses_nothing() {
    let host = Host::shared();
    let pod = host.summon(&["-i"], &images::layout("busybox"), &sh("read n; exec seq $n"));
    for lines in [50_000_u32, 180_000] {
        let mut child = pod.command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{lines}").unwrap();
        let mut stdout = child.stdout.take().unwrap();
        while rustix::io::ioctl_fionread(&stdout).unwrap() < 32 * 1024 {
            assert!(child.try_wait().unwrap().is_none(), "it ended without its output");
            std::thread::sleep(Duration::from_millis(20));
        }
        // The pause itself, not a wait for something: longer than a busy machine takes to end the container.
        std::thread::sleep(Duration::from_secs(5));
        let mut output = String::new();
        stdout.read_to_string(&mut output).unwrap();
        let expected: String = (1..=lines).map(|line| format!("{line}\n")).collect();
        assert!(output == expected, "{} of {} bytes came out, or others", output.len(), expected.len());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn input_ends_where_it_ends() {
    let host = Host::shared();
    let pod = host.summon(&["-i"], &images::layout("busybox"), &sh("wc -c; echo after"));
    assert_eq!(pod.feed(b"x").good(), "1\nafter\n");
    assert_eq!(pod.feed(b"").good(), "0\nafter\n");
}

#[test]
fn without_i_input_is_at_its_end() {
    let host = Host::shared();
    let pod = host.summon(&[], &images::layout("busybox"), &sh("wc -c"));
    assert_eq!(pod.feed(b"not for the container").good(), "0\n");
}

#[test]
fn the_containers_exit_code_is_kcradles() {
    let host = Host::shared();
    // A different code each run: no fixed answer can pass.
    let code = i32::from(std::process::id().to_le_bytes()[0] % 120) + 1;
    let pod = host.summon(&[], &images::layout("busybox"), &sh(&format!("exit {code}")));
    assert_eq!(pod.run().code, Some(code));
    // The process itself, number 1, is out of its own reach, as in Docker.
    let killed =
        host.summon_as("killed", &[], &images::layout("busybox"), &sh("sh -c 'kill -9 $$'; exit $?"));
    assert_eq!(killed.run().code, Some(128 + 9));
}

#[test]
fn a_missing_program_is_127_and_one_without_permission_126() {
    let host = Host::shared();
    let missing = host.summon(&[], &images::layout("busybox"), &["/no/such/program"]).run();
    assert_eq!(missing.code, Some(127), "{}", missing.err());
    assert!(missing.err().contains("/no/such/program"), "{}", missing.err());
    let plain = host.summon_as("plain", &[], &images::layout("busybox"), &["/etc/passwd"]).run();
    assert_eq!(plain.code, Some(126), "{}", plain.err());
    assert!(plain.err().contains("/etc/passwd"), "{}", plain.err());
}

#[test]
fn the_images_own_command_runs_when_none_is_given() {
    let host = Host::shared();
    let pod = host.summon(&["-i"], &images::layout("busybox"), &[]);
    assert_eq!(pod.feed(b"echo the shell of the image\n").good(), "the shell of the image\n");
}
