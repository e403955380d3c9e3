//! The threads around a session. Each does one thing, under the system call filter of [`vmm::seccomp::Role::Stdio`]:
//! reads the guest's frames, writes frames to it, reads standard input, signals or the control socket.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pod::control;
use spec::control::Reply;
use spec::frame::Kind;
use spec::{ContainerExit, ExitRecord};
use vmm::VmHandle;
use vmm::seccomp::Filter;

use super::event::Event;
use super::frames::{Frame, FrameReader};
use super::input::Window;
use super::output::Output;
use super::signals::Signals;

/// The longest exit record that is read, in bytes. One over a frame's payload comes in several frames.
const MAX_RECORD: usize = 1 << 20;
/// The most frames of an exit record: each makes the host read from the beginning again.
const MAX_RECORD_FRAMES: usize = MAX_RECORD / spec::frame::MAX_PAYLOAD;

/// The longest reason for which a disk did not grow, or an interface did not come, in characters.
const MAX_WHY: usize = 200;

/// How long a request waits for the session.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a thread that confines itself and then does its work. The virtual machine ends where it cannot be
/// confined, or panics.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    filter: &Filter,
    machine: &VmHandle,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<Option<T>>> {
    struct Guard(VmHandle);
    impl Drop for Guard {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.kill();
            }
        }
    }
    let (filter, guard) = (filter.clone(), Guard(machine.clone()));
    thread::Builder::new().name(name.to_owned()).spawn(move || match filter.apply() {
        Ok(()) => Some(work()),
        Err(error) => {
            eprintln!("kcradle: cannot confine a thread: {error}");
            guard.0.kill();
            None
        }
    })
}

/// An exit record that comes in frames.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    frames: usize,
}

impl Record {
    /// Takes the next part; answers the record of at most so many containers once it is whole.
    fn take(&mut self, part: &[u8], containers: usize) -> Result<Option<ExitRecord>, &'static str> {
        self.frames += 1;
        if self.frames > MAX_RECORD_FRAMES || self.bytes.len() + part.len() > MAX_RECORD {
            return Err("an exit record that is too long");
        }
        self.bytes.extend_from_slice(part);
        match serde_json::from_slice::<ExitRecord>(&self.bytes) {
            Ok(record) if record.containers.len() <= containers => Ok(Some(record)),
            Err(error) if error.is_eof() => Ok(None),
            _ => Err("a malformed exit record"),
        }
    }
}

/// Where the frames of the guest go.
pub(crate) struct Demultiplexer<O, E> {
    /// Containers in the pod.
    pub(crate) containers: usize,
    /// Whether the guest was told to keep the output to itself.
    pub(crate) quiet: bool,
    pub(crate) stdout: Output<O>,
    pub(crate) stderr: Output<E>,
    pub(crate) window: std::sync::Arc<Window>,
    pub(crate) events: SyncSender<Event>,
}

impl<O: Write, E: Write> Demultiplexer<O, E> {
    /// Reads frames until the stream ends, then says that output has ended.
    pub(crate) fn pump(mut self, stream: impl io::Read) {
        let mut reader = FrameReader::new(stream);
        let mut record = Record::default();
        let why = loop {
            match reader.next() {
                Ok(Some((header, payload))) => {
                    if let Err(why) = self.take(header.kind, header.container, payload, &mut record) {
                        break Some(format!("the guest broke the protocol of the stdio stream: {why}"));
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(crate::failure::Failure::from(anyhow::Error::from(error)).line()),
            }
        };
        let finished = self.stdout.finish().and_then(|()| self.stderr.finish());
        if finished.is_err() {
            self.tell(Event::OutputClosed);
        }
        self.tell(Event::OutputEnded(why));
    }

    /// Takes one frame; an error is a breach of the protocol.
    fn take(
        &mut self,
        kind: Kind,
        container: u8,
        payload: &[u8],
        record: &mut Record,
    ) -> Result<(), &'static str> {
        let index = usize::from(container);
        if index >= self.containers {
            return Err("a frame of a container that the pod does not have");
        }
        let number = || payload.try_into().map(u32::from_le_bytes).map_err(|_| "a number of a wrong length");
        match kind {
            Kind::Stdout | Kind::Stderr if self.quiet => return Err("output that nobody wants"),
            Kind::Stdout => self.put(true, container, payload),
            Kind::Stderr => self.put(false, container, payload),
            Kind::Started => self.tell(Event::Started { container: index, pid: number()? }),
            Kind::Exited => {
                // What it says comes again in the exit record; here it counts that the process has gone.
                serde_json::from_slice::<ContainerExit>(payload)
                    .map_err(|_| "a malformed end of a container")?;
                self.tell(Event::Exited { container: index });
            }
            Kind::Log => self.tell(Event::Log(payload.to_vec())),
            Kind::StdinTaken => self.window.release(number()? as usize),
            Kind::Grown => {
                let (disk, why) = payload.split_first_chunk().ok_or("a disk without a number")?;
                let why = String::from_utf8_lossy(why).chars().take(MAX_WHY).collect();
                self.tell(Event::Grown { disk: u32::from_le_bytes(*disk), why });
            }
            Kind::Linked => {
                let (slot, why) = payload.split_first_chunk().ok_or("a device without a slot")?;
                let why = String::from_utf8_lossy(why).chars().take(MAX_WHY).collect();
                self.tell(Event::Linked { slot: u32::from_le_bytes(*slot), why });
            }
            Kind::Final => {
                if let Some(record) = record.take(payload, self.containers)? {
                    self.tell(Event::Final(record));
                }
            }
            Kind::Stdin
            | Kind::StdinEof
            | Kind::Resize
            | Kind::Signal
            | Kind::Stop
            | Kind::FinalAck
            | Kind::Grow
            | Kind::Link => return Err("a frame that only the host sends"),
        }
        Ok(())
    }

    fn put(&mut self, stdout: bool, container: u8, payload: &[u8]) {
        let written = if stdout {
            self.stdout.write(container, payload)
        } else {
            self.stderr.write(container, payload)
        };
        if written.is_err() {
            self.tell(Event::OutputClosed);
        }
    }

    fn tell(&self, event: Event) {
        // The session ends after this thread; where it does not, nobody wants to know.
        let _ = self.events.send(event);
    }
}

/// Writes frames to the guest until nobody has any more, or the guest takes none.
pub(crate) fn write_frames(mut stream: &UnixStream, frames: &Receiver<Frame>) {
    while let Ok(frame) = frames.recv() {
        if frame.write(&mut stream).is_err() {
            return;
        }
    }
}

/// Passes signals on until the session has ended.
pub(crate) fn watch_signals(signals: &Signals, events: &SyncSender<Event>) {
    while let Ok(arrival) = signals.next() {
        if events.send(Event::Signal(arrival)).is_err() {
            return;
        }
    }
}

/// Serves the control socket, one request after the other, until the session has ended.
pub(crate) fn serve_control(listener: &UnixListener, events: &SyncSender<Event>) {
    while let Ok((stream, _)) = listener.accept() {
        let answer = |verb, descriptors| {
            let (reply, answered) = sync_channel(1);
            let sent = events.send(Event::Control(verb, descriptors, reply)).is_ok();
            let answered = sent.then(|| answered.recv_timeout(PATIENCE).ok()).flatten();
            answered.unwrap_or_else(|| Reply::Error("the pod does not answer".to_owned()))
        };
        // A peer that breaks off is its own loss.
        let _ = control::serve(&stream, answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use spec::frame::Header;

    use super::*;

    fn wire(frames: &[(Kind, u8, &[u8])]) -> Vec<u8> {
        let frame = |(kind, container, payload): &(Kind, u8, &[u8])| {
            let header = Header::new(*kind, *container, payload.len()).unwrap();
            [&header.encode()[..], payload].concat()
        };
        frames.iter().flat_map(frame).collect()
    }

    /// The events of a stream, and what came out of two containers or one.
    fn run(names: &[&str], frames: &[(Kind, u8, &[u8])]) -> (Vec<Event>, Vec<u8>, Vec<u8>) {
        pump(names, false, frames)
    }

    fn pump(names: &[&str], quiet: bool, frames: &[(Kind, u8, &[u8])]) -> (Vec<Event>, Vec<u8>, Vec<u8>) {
        let (events, received) = mpsc::sync_channel(QUEUE_FOR_TESTS);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        Demultiplexer {
            containers: names.len(),
            quiet,
            stdout: Output::new(&mut out, names),
            stderr: Output::new(&mut err, names),
            window: Arc::new(Window::default()),
            events,
        }
        .pump(&wire(frames)[..]);
        (received.iter().collect(), out, err)
    }

    const QUEUE_FOR_TESTS: usize = 64;

    fn breach(frames: &[(Kind, u8, &[u8])]) -> String {
        match run(&["a"], frames).0.pop() {
            Some(Event::OutputEnded(Some(why))) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn streams_are_kept_apart_and_the_record_comes_last() {
        let record = br#"{"code":3,"containers":[{"name":"a","code":3}]}"#;
        let (events, out, err) = run(
            &["a"],
            &[
                (Kind::Started, 0, &[7, 0, 0, 0]),
                (Kind::Stdout, 0, b"out"),
                (Kind::Stderr, 0, b"err"),
                (Kind::Stdout, 0, b"put"),
                (Kind::Final, 0, &record[..10]),
                (Kind::Final, 0, &record[10..]),
            ],
        );
        assert_eq!((&out[..], &err[..]), (&b"output"[..], &b"err"[..]));
        assert!(matches!(events[0], Event::Started { container: 0, pid: 7 }));
        assert!(matches!(&events[1], Event::Final(record) if record.code == 3));
        assert!(matches!(events[2], Event::OutputEnded(None)));
    }

    #[test]
    fn a_quiet_pod_has_no_output() {
        for kind in [Kind::Stdout, Kind::Stderr] {
            let frames: [(Kind, u8, &[u8]); 2] = [(Kind::Started, 0, &[7, 0, 0, 0]), (kind, 0, b"x")];
            let (events, out, err) = pump(&["a"], true, &frames);
            assert!(matches!(events[0], Event::Started { container: 0, pid: 7 }));
            assert!(matches!(&events[1], Event::OutputEnded(Some(why)) if why.contains("nobody wants")));
            assert!(out.is_empty() && err.is_empty());
        }
    }

    #[test]
    fn breaches_end_the_stream() {
        assert!(breach(&[(Kind::Stdout, 1, b"x")]).contains("does not have"));
        assert!(breach(&[(Kind::Started, 0, b"xx")]).contains("wrong length"));
        assert!(breach(&[(Kind::Exited, 0, b"{")]).contains("malformed"));
        assert!(breach(&[(Kind::Final, 0, b"[]")]).contains("malformed"));
        assert!(breach(&[(Kind::FinalAck, 0, b"")]).contains("only the host"));
        let part = [b' '; 60_000];
        assert!(breach(&[(Kind::Final, 0, &part[..]); 20]).contains("too long"));
        assert!(breach(&[(Kind::Final, 0, &b" "[..]); MAX_RECORD_FRAMES + 1]).contains("too long"));
    }
}
