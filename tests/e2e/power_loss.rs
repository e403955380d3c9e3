//! Power losses: dm-log-writes under a pod's disk notes what became durable in which order, and a disk is made again as
//! it was at points of that order. What a database had acknowledged by then has to be there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::log_writes::Log;
use tests::{Host, Pod, Running, images};

/// Commits of a run.
const COMMITS: usize = 20;

/// Points that are looked at, where `POWER_LOSS_POINTS` names no other number, or `all`.
const POINTS: usize = 8;

/// Says each commit when the database has acknowledged it. Less than `extra` does not flush the removal of the journal, which is
/// what makes a commit one.
const SCRIPT: &str = "
    mkdir -p /data
    {
        echo 'pragma synchronous = extra; create table t (n integer primary key, filling blob);'
        n=0
        while [ $n -lt COMMITS ]; do
            n=$((n + 1))
            echo \"insert into t values ($n, randomblob($((n % 7 * 700))));\"
            echo \".print acknowledged $n\"
        done
    } | stdbuf -oL sqlite3 -bail /data/commits
    exec sleep 1000";

/// A command that must succeed; its standard output.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file as a block device.
struct Loop(String);

impl Loop {
    fn of(file: &Path) -> Self {
        Self(tool("losetup", &["--find", "--show", name(file)]))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// A mounted file system.
struct Mounted(PathBuf);

impl Mounted {
    fn new(device: &str, place: &Path) -> Result<Self, String> {
        fs::create_dir_all(place).unwrap();
        let mount = Command::new("mount").args(["-t", "ext4", device, name(place)]).output().unwrap();
        match mount.status.success() {
            true => Ok(Self(place.to_owned())),
            false => Err(String::from_utf8_lossy(&mount.stderr).into_owned()),
        }
    }

    fn end(self) {
        drop(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A device of the kernel's device mapper.
struct Mapped(String);

impl Mapped {
    /// What is written to it goes to `disk` and is noted on `log`.
    fn logged(disk: &Loop, log: &Loop) -> Self {
        let sectors = tool("blockdev", &["--getsz", &disk.0]);
        let name = format!("cradle-{}", std::process::id());
        let table = format!("0 {sectors} log-writes {} {}", disk.0, log.0);
        tool("dmsetup", &["create", &name, "--noudevsync", "--table", &table]);
        Self(name)
    }

    fn device(&self) -> String {
        let minor = tool("dmsetup", &["info", "-c", "--noheadings", "-o", "minor", &self.0]);
        format!("/dev/dm-{minor}")
    }

    fn mark(&self, mark: &str) {
        tool("dmsetup", &["message", &self.0, "0", "mark", mark]);
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = Command::new("dmsetup").args(["remove", "--retry", "--noudevsync", &self.0]).status();
    }
}

/// A run whose power can be cut at any time after it: the disk before it, and all that happened to it.
struct Recording {
    before: PathBuf,
    log: Log,
}

impl Recording {
    /// Runs `command` of a pod on a disk of its own until all commits are acknowledged.
    fn make(host: &Host, command: impl FnOnce(&Pod<'_>) -> Command) -> Self {
        let file = |name: &str, size: u64| {
            let path = host.folder().join(name);
            File::create(&path).unwrap().set_len(size).unwrap();
            path
        };
        let (disk, log_file) = (file("disk", 256 << 20), file("log", 1 << 30));
        tool("mkfs.ext4", &["-q", "-J", "size=8", name(&disk)]);
        let place = host.folder().join("place");
        let before = host.folder().join("before");
        let script = SCRIPT.replace("COMMITS", &COMMITS.to_string());
        let device = Loop::of(&disk);
        let mounted = Mounted::new(&device.0, &place).unwrap();
        let pod = host.summon_as(
            "place/pod",
            &["--disk-size", "64m"],
            &images::layout("sqlite"),
            &["sh", "-c", &script],
        );
        mounted.end();
        copy(&disk, &before);

        let log_device = Loop::of(&log_file);
        let logged = Mapped::logged(&device, &log_device);
        let mounted = Mounted::new(&logged.device(), &place).unwrap();
        let mut command = command(&pod);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::new(command.spawn().unwrap());
        for number in 1..=COMMITS {
            let line = running.wait_for("acknowledged");
            assert_eq!(line, format!("acknowledged {number}"));
            logged.mark(&number.to_string());
        }
        drop(running);
        mounted.end();
        drop((logged, log_device, device));
        Self { before, log: Log::read(&log_file) }
    }

    /// Points of the run, evenly over it: after flushes, and where an acknowledgement had just come.
    fn points(&self) -> Vec<usize> {
        let most =
            std::env::var("POWER_LOSS_POINTS").map_or(POINTS, |number| number.parse().unwrap_or(usize::MAX));
        let entries = self.log.entries.iter().enumerate();
        let all: Vec<_> = entries
            .filter(|(_, entry)| entry.is_barrier() || entry.mark.is_some())
            .map(|(index, _)| index)
            .collect();
        assert!(all.len() >= COMMITS, "{} points", all.len());
        let step = all.len().div_ceil(most).max(1);
        // From the end, where the most is to be lost.
        let mut chosen: Vec<_> = all.into_iter().rev().step_by(step).collect();
        chosen.reverse();
        chosen
    }

    /// Cuts the power at each point; answers what is wrong with what is left.
    fn losses(&self, host: &Host) -> Vec<String> {
        let (now, crashed) = (host.folder().join("now"), host.folder().join("crashed"));
        copy(&self.before, &now);
        let disk = File::options().write(true).open(&now).unwrap();
        let (mut done, mut acknowledged, mut wrong) = (0, 0, Vec::new());
        let points = self.points();
        for point in &points {
            for index in done..=*point {
                match &self.log.entries[index].mark {
                    // The end of the log is marked, too.
                    Some(mark) => acknowledged = mark.parse().unwrap_or(acknowledged),
                    None => self.log.replay(index, &disk),
                }
            }
            done = point + 1;
            copy(&now, &crashed);
            if let Err(why) = recover(host, &crashed, acknowledged) {
                wrong.push(format!("entry {point}, {acknowledged} acknowledged: {why}"));
            }
        }
        assert_eq!(acknowledged, COMMITS, "the last point is the last acknowledgement or after it");
        wrong
    }
}

/// What is left after a power loss, as the next start finds it.
fn recover(host: &Host, disk: &Path, acknowledged: usize) -> Result<(), String> {
    let (outer, inner) = (host.folder().join("outer"), host.folder().join("inner"));
    let device = Loop::of(disk);
    let mounted = Mounted::new(&device.0, &outer)?;
    let scratch = Loop::of(&outer.join("pod/scratch.ext4"));
    let in_pod = Mounted::new(&scratch.0, &inner)?;
    let found = Command::new("find").args([name(&inner), "-name", "commits", "-type", "f"]).output().unwrap();
    let checked = match String::from_utf8(found.stdout).unwrap().trim() {
        _ if !found.status.success() => Err(String::from_utf8_lossy(&found.stderr).into_owned()),
        "" if acknowledged == 0 => Ok(()),
        "" => Err("there is no database".to_owned()),
        path => database(path, acknowledged),
    };
    in_pod.end();
    let clean = |device: &Loop| {
        let output = Command::new("e2fsck").args(["-f", "-n", &device.0]).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    };
    let inner_clean = clean(&scratch);
    drop(scratch);
    mounted.end();
    checked.and(inner_clean).and(clean(&device))
}

/// Whether the database is whole and has at least what it acknowledged, and nothing without what came before it.
fn database(path: &str, acknowledged: usize) -> Result<(), String> {
    let query = "pragma integrity_check; select count(*) || ' ' || ifnull(max(n), 0) from t;";
    let output = Command::new("sqlite3").args([path, query]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let numbers = out.trim().strip_prefix("ok\n").and_then(|rest| rest.split_once(' '));
    match numbers.map(|(count, last)| (count.parse::<usize>(), last.parse::<usize>())) {
        Some((Ok(count), Ok(last))) if count == last && count >= acknowledged => Ok(()),
        // The table itself is the first commit, which is not acknowledged by itself.
        None if acknowledged == 0 && err.contains("no such table") => Ok(()),
        _ => Err(format!("{out}{err}")),
    }
}

/// A copy with the holes.
fn copy(from: &Path, to: &Path) {
    tool("cp", &["--sparse=always", name(from), name(to)]);
}

#[test]
fn no_commit_that_was_acknowledged_is_lost() {
    let host = Host::shared();
    let recording = Recording::make(&host, |pod| pod.command(&[]));
    let wrong = recording.losses(&host);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same with a VMM that answers flushes and does not flush: the test above can fail.
#[test]
fn without_flushes_commits_are_lost() {
    let host = Host::shared();
    let debug = tests::work_tree().join("target/debug/kcradle");
    assert!(debug.exists(), "no {}: run tests/run", debug.display());
    let recording = Recording::make(&host, |pod| {
        let mut command = Command::new(&debug);
        command.arg("run").arg(pod.path());
        command.env("CRADLE_HOME", host.home()).env("CRADLE_TEST_NO_FLUSH", "1");
        command
    });
    let wrong = recording.losses(&host);
    assert!(!wrong.is_empty(), "nothing was lost at {} points", recording.points().len());
}
