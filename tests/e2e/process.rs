//! The container's process: user, environment, folder, host name, rights, limits and signals.

use rustix::process::Signal;
use tests::{Host, images};

/// Standard output of a script in a busybox container.
fn output(wishes: &[&str], script: &str) -> String {
    Host::shared().summon(wishes, &images::layout("busybox"), &["sh", "-c", script]).run().good()
}

#[test]
fn user_and_groups_come_by_name_from_the_image() {
    assert_eq!(output(&["--user", "www"], "id -u; id -g; id -G"), "33\n33\n33 34\n");
    assert_eq!(output(&["--user", "1234:extra"], "id -u; id -g"), "1234\n34\n");
    let host = Host::shared();
    let unknown = host.summon(&["--user", "nobody-knows"], &images::layout("busybox"), &["true"]).run();
    assert_eq!(unknown.code, Some(125), "{}", unknown.err());
    assert!(unknown.err().contains("nobody-knows"), "{}", unknown.err());
}

#[test]
fn environment_folder_and_host_name_are_as_asked() {
    let wishes =
        ["-e", "GREETING=good day", "-e", "EMPTY=", "--workdir", "/not/there/yet", "--hostname", "box"];
    let script = "echo $GREETING; echo [${EMPTY-unset}]; pwd; hostname; cat /etc/hostname; grep -c localhost /etc/hosts";
    assert_eq!(output(&wishes, script), "good day\n[]\n/not/there/yet\nbox\nbox\n2\n");
}

#[test]
fn an_entry_point_replaces_the_images() {
    let host = Host::shared();
    let pod = host.summon(&["--entrypoint", "/bin/echo"], &images::layout("busybox"), &["-n", "said"]);
    assert_eq!(pod.run().good(), "said");
}

#[test]
fn rights_are_dockers_defaults() {
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
    // AUDIT_WRITE SETFCAP, as Docker's documentation lists them.
    let script = "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | tr -s '\\t' ' '";
    let root = output(&[], script);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(root.contains(&format!("{set}: 00000000a80425fb")), "{root}");
    }
    assert!(root.contains("CapAmb: 0000000000000000"), "{root}");
    assert!(output(&["--user", "www"], script).contains("CapEff: 0000000000000000"));
}

#[test]
fn dangerous_files_of_proc_are_out_of_reach() {
    let script = "
        (echo c >/proc/sysrq-trigger) 2>/dev/null && echo wrote sysrq-trigger
        (echo x >/proc/sys/kernel/hostname) 2>/dev/null && echo wrote /proc/sys
        test -s /proc/kcore && echo read kcore
        (echo x >/sys/kernel/x) 2>/dev/null && echo wrote /sys
        mount -t tmpfs tmpfs /tmp 2>/dev/null && echo mounted
        ls /dev | grep -E '^(vd|mem|kmsg|port)' && echo sees devices
        echo done";
    assert_eq!(output(&[], script), "done\n");
    let from_inside = "(echo x >kernel/hostname) 2>/dev/null && echo wrote /proc/sys; pwd; hostname";
    let wishes = ["--workdir", "/proc/sys", "--hostname", "box"];
    assert_eq!(output(&wishes, from_inside), "/proc/sys\nbox\n");
}

#[test]
fn default_devices_and_mounts_are_there() {
    let script = "
        for name in null zero full random urandom tty ptmx pts shm mqueue fd stdin stdout stderr; do
            test -e /dev/$name || test -L /dev/$name || echo lacks /dev/$name
        done
        echo gone >/dev/null; head -c 3 /dev/zero | wc -c; (echo x >/dev/full) 2>/dev/null || echo full
        df -k /dev/shm | awk 'NR == 2 { print $2 }'
        awk '$2 == \"/proc\" || $2 == \"/sys\" { print $2, $3 }' /proc/mounts | sort";
    assert_eq!(output(&[], script), "3\nfull\n65536\n/proc proc\n/sys sysfs\n");
}

#[test]
fn cpus_and_memory_are_as_asked() {
    let script = "nproc; awk '/MemTotal/ { print ($2 > 170000 && $2 < 200000) }' /proc/meminfo";
    assert_eq!(output(&["--cpus", "2", "--memory", "192m"], script), "2\n1\n");
    assert_eq!(output(&["--cpus", "1", "--memory", "64m"], "nproc"), "1\n");
}

#[test]
fn all_memory_is_there_from_the_first_moment() {
    // The kernel initialises most page structures when their memory is first asked for: it has to count what it has not
    // touched, give it to whoever asks, to several at once too, reclaim nothing for it, and count it when it comes back
    // (a processor may keep 128 MiB of that to itself).
    let script = "
        counts() { awk -v least=$1 '/^Mem(Total|Free|Available):/ { print $1, ($2 > least) }' /proc/meminfo; }
        counts 3900000
        for taker in 1 2 3 4; do
            { dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null && echo taken; } &
        done
        wait
        counts 3300000
        awk '/^(oom_kill|pgscan_kswapd|pgscan_direct|pageoutrun) / { sum += $2 } END { print sum }' /proc/vmstat";
    let counts = "MemTotal: 1\nMemFree: 1\nMemAvailable: 1\n";
    let told = format!("{counts}taken\ntaken\ntaken\ntaken\n{counts}0\n");
    assert_eq!(output(&["--memory", "4g", "--cpus", "4"], script), told);
}

#[test]
fn orphans_are_reaped() {
    let script = "
        for n in 1 2 3 4 5; do (sleep 0.05 & exec true); done
        zombies() { grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l; }
        left=100
        while test $left -gt 0 && { pidof sleep >/dev/null || test $(zombies) -gt 0; }; do left=$((left - 1)); done
        pidof sleep; zombies";
    assert_eq!(output(&[], script), "0\n");
}

#[test]
fn signals_reach_the_process() {
    let host = Host::shared();
    let script = "trap 'echo got TERM; exit 7' TERM; trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.1; done";
    let pod = host.summon(&[], &images::layout("busybox"), &["sh", "-c", script]);
    let mut running = pod.start();
    running.wait_for("ready");
    running.signal(Signal::USR1);
    running.wait_for("got USR1");
    running.signal(Signal::TERM);
    running.wait_for("got TERM");
    assert_eq!(running.end().code, Some(7));
}

#[test]
fn running_out_of_memory_is_told() {
    let host = Host::shared();
    // The shell lives in the container's memory: its own growth is what the limit meets.
    let script = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done";
    let ended = host.summon(&["--memory", "96m"], &images::layout("busybox"), &["sh", "-c", script]).run();
    assert_eq!(ended.code, Some(137), "{}", ended.err());
    assert!(ended.err().to_lowercase().contains("memory"), "{}", ended.err());
}
