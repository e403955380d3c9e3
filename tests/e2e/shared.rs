//! Directories and files of the host in a pod: what is shared, what is not, and the processes that share it.

mod hostile;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Host, Pod, images};

/// The folder of that name, with one file in it.
fn folder(host: &Host, name: &str) -> PathBuf {
    let folder = host.folder().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("here"), format!("{name}\n")).unwrap();
    folder
}

fn children(process: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", process.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
}

/// The processes that share files for the process of that id: virtiofsd has a child that serves.
fn sharing(process: Pid) -> Vec<Pid> {
    children(process).into_iter().flat_map(|helper| [vec![helper], children(helper)].concat()).collect()
}

fn of_process(process: Pid, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", process.as_raw_nonzero()).into()
}

/// Waits until something holds, and fails where it does not in a minute.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn summon<'h>(host: &'h Host, name: &str, wishes: &[&str], script: &str) -> Pod<'h> {
    let wishes = [&["--memory", "128m", "--name", "main"], wishes].concat();
    host.summon_as(&format!("pod-{name}"), &wishes, &images::layout("busybox"), &["sh", "-c", script])
}

#[test]
fn changes_are_seen_on_both_sides() {
    let host = Host::shared();
    let folder = folder(&host, "work");
    let one = host.folder().join("one.conf");
    fs::write(&one, "one\n").unwrap();
    let script =
        "cat /work/here /etc/one.conf; echo guest >/work/there; mkdir /work/dir; mv /work/here /work/dir/
        ln /work/there /work/again; ln -s there /work/link; echo two >>/etc/one.conf; echo ready
        until grep -q host /work/there; do sleep 0.1; done; rm /work/again; cat /work/dir/new";
    let volumes =
        ["-v", &format!("{}:/work", folder.display()), "-v", &format!("{}:/etc/one.conf", one.display())];
    let pod = summon(&host, "both", &volumes, script);
    let mut running = pod.start();
    running.wait_for("ready");
    assert_eq!(fs::read_to_string(folder.join("there")).unwrap(), "guest\n");
    assert_eq!(fs::read_to_string(folder.join("dir/here")).unwrap(), "work\n");
    assert_eq!(fs::metadata(folder.join("again")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(folder.join("link")).unwrap(), Path::new("there"));
    assert_eq!(fs::read_to_string(&one).unwrap(), "one\ntwo\n");
    fs::write(folder.join("dir/new"), "new\n").unwrap();
    fs::write(folder.join("there"), "host\n").unwrap();
    let ended = running.end();
    assert_eq!(ended.good(), "new\n");
    assert!(!folder.join("again").exists());
}

#[test]
fn what_is_shared_for_reading_is_read_only_on_the_host() {
    let host = Host::shared();
    let folder = folder(&host, "read");
    fs::create_dir(folder.join("below")).unwrap();
    let one = host.folder().join("one");
    fs::write(&one, "one\n").unwrap();
    let script = "for what in /read/here /read/new /read/below/new /one; do (echo x >$what) 2>/dev/null || echo refused; done
        rm /read/here 2>/dev/null || echo refused; cat /read/here /one; echo ready; exec sleep 1000";
    let volumes = [
        "--mount",
        &format!("type=bind,src={},dst=/read,readonly", folder.display()),
        "-v",
        &format!("{}:/one:ro", one.display()),
    ];
    let pod = summon(&host, "read", &volumes, script);
    let mut running = pod.start();
    for line in ["refused", "refused", "refused", "refused", "refused", "read", "one", "ready"] {
        assert_eq!(running.wait_for(""), line);
    }
    // Of its own right, whatever the guest would ask of it: the kernel keeps the process from writing, and from all else.
    let mut served: Vec<Vec<String>> = Vec::new();
    // One waits for the one that serves, without any rights.
    for process in sharing(running.pid()).into_iter().filter(|process| children(*process).is_empty()) {
        let mounts = fs::read_to_string(of_process(process, "mountinfo")).unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let options = root.split(' ').nth(5).unwrap();
        assert!(
            ["ro", "nosuid", "nodev"].iter().all(|word| options.split(',').any(|has| has == *word)),
            "{root}"
        );
        let names = fs::read_dir(of_process(process, "root")).unwrap();
        served.push(names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect());
        let status = fs::read_to_string(of_process(process, "status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
        for name in fs::read_dir(of_process(process, "fd")).unwrap() {
            let target = fs::read_link(name.unwrap().path()).unwrap_or_default();
            assert!(!target.starts_with(pod.path()), "it has {}", target.display());
        }
    }
    served.iter_mut().for_each(|names| names.sort());
    served.sort();
    assert_eq!(served, [vec!["below", "here"], vec!["file"]], "a single file has no neighbours");
    host.succeed(&["stop", "--time", "0", pod.name()]);
    running.end();
}

#[test]
fn a_guest_does_not_get_out_of_what_is_shared() {
    let host = Host::shared();
    let folder = folder(&host, "inside");
    fs::write(host.folder().join("secret"), "secret\n").unwrap();
    std::os::unix::fs::symlink(host.folder(), folder.join("up")).unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("near")).unwrap();
    let script = "cd /inside; cat up/secret near ../secret /inside/../../secret 2>/dev/null && echo LEAK
        ln -s /proc/1/root/etc/passwd far; mkdir a; echo mine >a/secret
        (while :; do mv a b; ln -s .. a; rm a; mv b a; done) 2>/dev/null & racer=$!
        for n in $(seq 300); do cat a/secret; done 2>/dev/null | grep -v mine; kill $racer; wait $racer 2>/dev/null
        mknod node c 1 3 2>/dev/null || echo no node; mknod disk b 8 0 2>/dev/null || echo no disk
        mkfifo pipe && echo pipe; cp /bin/busybox tool && chmod 4755 tool && echo tool";
    let volume = format!("{}:/inside", folder.display());
    let pod = summon(&host, "inside", &["-v", &volume], script);
    let ended = pod.run();
    assert_eq!(ended.good(), "no node\nno disk\npipe\ntool\n", "{}", ended.err());
    for entry in fs::read_dir(&folder).unwrap() {
        let kind = entry.unwrap().file_type().unwrap();
        use std::os::unix::fs::FileTypeExt as _;
        assert!(!kind.is_char_device() && !kind.is_block_device());
    }
    assert_eq!(fs::read_to_string(host.folder().join("secret")).unwrap(), "secret\n");
    assert_eq!(fs::metadata(folder.join("tool")).unwrap().permissions().mode() & 0o7777, 0o4755);
}

/// What was the kernel's own as it started becomes memory for files, which the other process must see too.
#[test]
fn files_are_whole_when_memory_is_short() {
    let host = Host::shared();
    let folder = folder(&host, "large");
    let bytes: Vec<u8> = (0..48 << 20).map(|at: u32| (at ^ at >> 8 ^ at >> 16).to_le_bytes()[0]).collect();
    fs::write(folder.join("in"), &bytes).unwrap();
    let script = "mkdir /fill && mount -t tmpfs x /fill 2>/dev/null; head -c 40000000 /dev/zero >/dev/shm/fill 2>/dev/null
        cp /large/in /large/out && cmp /large/in /large/out && echo same";
    let volume = format!("{}:/large", folder.display());
    let pod = summon(&host, "large", &["-v", &volume], script);
    assert_eq!(pod.run().good(), "same\n");
    assert!(fs::read(folder.join("out")).unwrap() == bytes);
}

#[test]
fn what_cannot_be_shared_is_refused_in_dockers_words() {
    let host = Host::shared();
    let socket = host.folder().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let image = images::layout("busybox");
    let refuse = |wishes: &[&str]| {
        let pod = host.pod("refused");
        let error = host.refuse(&[&["summon", "--quiet"], wishes, &[pod.name(), &image, "true"]].concat());
        assert!(!pod.path().exists());
        error
    };
    let error = refuse(&["-v", &format!("{}:/var/run/docker.sock", socket.display())]);
    assert!(error.contains("docker.sock is a socket"), "{error}");
    let error = refuse(&["-v", "/dev/null:/x"]);
    assert!(error.contains("/dev/null is a device"), "{error}");
    let missing = host.folder().join("missing");
    let error = refuse(&["--mount", &format!("type=bind,src={},dst=/x", missing.display())]);
    assert!(error.contains(&format!("bind source path does not exist: {}", missing.display())), "{error}");
    assert!(!missing.exists());

    // As Docker does: `-v` makes it, at each start.
    let volume = format!("{}:/x", missing.display());
    let pod = summon(&host, "made", &["-v", &volume], "echo x >/x/x");
    fs::remove_dir(&missing).unwrap();
    assert_eq!(pod.run().good(), "");
    assert_eq!(fs::read_to_string(missing.join("x")).unwrap(), "x\n");
    let ended = tests::Ended::of(pod.command(&[]).env("CRADLE_VIRTIOFSD", "/nowhere/virtiofsd"));
    assert_eq!(ended.code, Some(125));
    assert!(
        ended.err().contains("CRADLE_VIRTIOFSD is /nowhere/virtiofsd, which is no program"),
        "{}",
        ended.err()
    );
    let ended = tests::Ended::of(pod.command(&[]).env("CRADLE_VIRTIOFSD", "/bin/false"));
    assert_eq!(ended.code, Some(125));
    assert!(ended.err().contains("cannot attach the share share0"), "{}", ended.err());
    fs::remove_dir_all(&missing).unwrap();
    fs::write(&missing, "").unwrap();
    assert!(pod.run().err().contains("was a directory when the pod was made"));
}

#[test]
fn the_processes_end_with_the_machine_and_it_does_not_with_them() {
    let host = Host::shared();
    let folder = folder(&host, "ends");
    let volume = format!("{}:/ends", folder.display());
    let script = "cat /ends/here; echo ready; exec sleep 1000";
    let pod = summon(&host, "ends", &["-v", &volume], script);
    let gone = |processes: &[Pid]| {
        processes.iter().all(|process| {
            let status = fs::read_to_string(of_process(*process, "status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        })
    };
    // Killed, as by an administrator.
    let mut running = pod.start();
    running.wait_for("ready");
    let processes = sharing(running.pid());
    assert!(!processes.is_empty());
    running.signal(Signal::KILL);
    running.end();
    wait_until("they end with the machine", || gone(&processes));

    // The other way round: the machine goes on without the files.
    let mut running = pod.start();
    running.wait_for("ready");
    let processes = sharing(running.pid());
    for process in &processes {
        let _gone = kill_process(*process, Signal::KILL);
    }
    wait_until("they are killed", || gone(&processes));
    let console = pod.path().join("console.log");
    wait_until("it is said", || {
        fs::read_to_string(&console).unwrap().contains("virtio device 26 needs a reset")
    });
    let alive = tests::Ended::of(&mut pod.verb("exec", &["echo", "alive"]));
    assert_eq!(alive.good(), "alive\n");
    host.succeed(&["stop", "--time", "0", pod.name()]);
    running.end();
    assert!(!host.succeed(&["ls"]).is_empty());
}
