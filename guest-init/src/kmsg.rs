//! The guest itself as a container of the pod's API: its log is the kernel's, with what PID 1 has to say.

use crate::watch::watch;
use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use spec::launch::{ImageSpec, ProcessSpec, Writable};
use spec::{ContainerSpec, LaunchSpec};
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::io::Interest;
use tokio::sync::watch;
use vdocker::log::Stream;
use vdocker::{Container, ContainerState, Log, Status, task};

/// The name of the guest among the containers.
const NAME: &str = "cradle";

/// The longest record of /dev/kmsg in bytes: PRINTK_MESSAGE_MAX.
const MAX_RECORD: usize = 2048;

/// The least severe level (syslog(2)) that counts as an error.
const LAST_ERROR: u8 = 3;

/// When the guest was booted.
pub(crate) fn booted() -> SystemTime {
    SystemTime::now() - crate::runtime::now()
}

/// The guest as a container, whose log is filled from now on with what the kernel has said and will say.
pub(crate) fn guest(pod: &LaunchSpec) -> Rc<Container> {
    let state = ContainerState {
        status: Status::Running,
        pid: 1,
        started: Some(booted()),
        ..ContainerState::default()
    };
    let guest = Rc::new(Container {
        id: pod.container_id(pod.containers.len()),
        index: pod.containers.len(),
        spec: specification(),
        created: booted(),
        state: watch::Sender::new(state),
        log: Log::in_memory(),
    });
    let log = guest.log.clone();
    task::spawn(async move {
        if let Err(error) = follow(&log).await {
            log.push(Stream::Stderr, Bytes::from(format!("cannot read the kernel's log: {error}\n")));
        }
    });
    guest
}

fn specification() -> ContainerSpec {
    ContainerSpec {
        name: NAME.to_owned(),
        image: ImageSpec {
            reference: NAME.to_owned(),
            digest: String::new(),
            disk: 0,
            writable: Writable::Tmpfs,
        },
        process: ProcessSpec {
            cmd: vec!["/init".to_owned()],
            init: false,
            env: Vec::new(),
            workdir: "/".to_owned(),
            tty: false,
            stdin: false,
            stdin_once: true,
            user: String::new(),
            capabilities: Vec::new(),
            no_new_privileges: false,
            groups: Vec::new(),
            rlimits: Vec::new(),
            stop_signal: libc::SIGTERM.unsigned_abs(),
            stop_timeout: 10,
        },
        lifecycle: spec::launch::LifecycleSpec::default(),
        hostname: NAME.to_owned(),
        mounts: Vec::new(),
        limits: spec::launch::LimitsSpec::default(),
        shm_size: 0,
        labels: std::collections::BTreeMap::new(),
        healthcheck: None,
    }
}

/// Reads the kernel's log for ever.
async fn follow(log: &Log) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let kmsg = watch(rustix::fs::open("/dev/kmsg", flags, Mode::empty())?, Interest::READABLE)?;
    let booted = booted();
    let mut buffer = vec![0; MAX_RECORD];
    loop {
        let mut read = |kmsg: &OwnedFd| match rustix::io::read(kmsg, &mut buffer) {
            // The oldest records were overwritten: the next read goes on behind the gap.
            Err(Errno::PIPE | Errno::INTR) => Ok(0),
            other => Ok(other?),
        };
        let count = kmsg.async_io(Interest::READABLE, &mut read).await?;
        if let Some((stream, since, text)) = record(&buffer[..count]) {
            log.push_at(booted + since, stream, text);
        }
    }
}

/// A record of /dev/kmsg: `level,sequence,microseconds,flags;text`, and lines that begin with a space, which are for
/// programs.
fn record(bytes: &[u8]) -> Option<(Stream, Duration, Bytes)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, text) = text.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let since = Duration::from_micros(fields.nth(1)?.parse().ok()?);
    let line = text.lines().next().unwrap_or_default();
    let stream = if priority % 8 <= u32::from(LAST_ERROR) { Stream::Stderr } else { Stream::Stdout };
    Some((stream, since, Bytes::from(format!("{line}\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_give_level_time_and_text() {
        let (stream, since, text) =
            record(b"6,339,5140900,-;NET: registered; really\n SUBSYSTEM=net\n").unwrap();
        assert_eq!((stream, since), (Stream::Stdout, Duration::from_micros(5_140_900)));
        assert_eq!(text, "NET: registered; really\n");
        // Facility 1 (user), level 0, from a program.
        assert_eq!(record(b"8,1,2,-;guest-init: panic\n").unwrap().0, Stream::Stderr);
    }

    #[test]
    fn what_is_no_record_is_passed_over() {
        for bytes in [&b""[..], b"text", b"x,1,2,-;t", b"6,1;t", b"6,1,x,-;t", b"\xff;"] {
            assert!(record(bytes).is_none());
        }
    }
}
