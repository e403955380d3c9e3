//! The user at a raw stream to a container: what is typed goes there, what comes is shown, the terminal is raw meanwhile
//! and as before on every way out.
//!
//! Each direction has a thread, signals have one, and what they ask of the API has one: a guest that does not answer
//! holds nobody up who wants to leave.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::Context as _;

use crate::failure::Failure;
use crate::run::signals::{Arrival, Signals, is_termination};
use crate::run::terminal::{self, RawTerminal};

use super::http::{BUFFER, Connection, Writer};
use super::output::{Output, OutputError};
use vdocker::detach::{DetachKeys, Watch};

/// What a session does besides passing on bytes.
pub(crate) enum Order {
    /// The user's terminal has so many rows and columns.
    Resize(u16, u16),
    /// A signal came for the container.
    Signal(u32),
}

/// A session to be run.
pub(crate) struct Session {
    /// Whether the stream is a terminal's.
    pub(crate) tty: bool,
    /// Whether standard input goes to the container.
    pub(crate) stdin: bool,
    /// What leaves a terminal.
    pub(crate) keys: DetachKeys,
    /// Whether signals are the container's and not this process's.
    pub(crate) proxy: bool,
    /// Tells the API.
    pub(crate) tell: Box<dyn Fn(Order) + Send>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The output has ended.
    Output,
    /// The user left by the detach keys.
    Detached,
    /// A signal ended it.
    Signal(u32),
}

enum Event {
    Opened(Result<Connection, Failure>),
    Output(Result<(), OutputError>),
    Detached,
    Signal(Arrival),
    Panicked,
}

/// Refuses a terminal's stream from something that is no terminal, in Docker's words.
pub(crate) fn check_terminal(stdin: bool, tty: bool) -> Result<(), Failure> {
    if stdin && tty && !io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

impl Session {
    /// Passes on what comes and goes until one of them ends. `open` makes the stream, on a thread that gets no signals.
    pub(crate) fn run(
        self,
        open: impl FnOnce() -> Result<Connection, Failure> + Send + 'static,
    ) -> Result<End, Failure> {
        let signals = Signals::block().context("cannot watch for signals")?;
        // Dropped in the reverse order: the terminal is as before when nobody receives any more.
        let (events, received) = mpsc::channel();
        spawn(&events, "signals", move |events| watch(&signals, events))?;
        spawn(&events, "open", move |events| drop(events.send(Event::Opened(open()))))?;
        let stream = match opened(&received)? {
            Opened::Stream(stream) => stream,
            Opened::Signal(number) => return Ok(End::Signal(number)),
        };
        // Not before: a raw terminal sends no signals, and a guest that does not answer could not be left.
        let _terminal = match self.tty && self.stdin {
            true => RawTerminal::enter().context("cannot set up the terminal")?,
            false => None,
        };
        let output = Output::standard().context("cannot use standard output")?;
        let writer = stream.writer().context("cannot use the stream")?;
        let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let Self { tty, stdin, keys, proxy, tell } = self;

        let (orders, to_tell) = mpsc::channel();
        spawn(&events, "orders", move |_| to_tell.into_iter().for_each(tell))?;
        let copy = move |events: &Sender<Event>| {
            let copied = if tty { output.copy_raw(stream) } else { output.copy_frames(stream) };
            let _ = events.send(Event::Output(copied));
        };
        spawn(&events, "output", copy)?;
        if stdin {
            let input = input.context("cannot use standard input")?;
            let watch = tty.then(|| Watch::new(&keys));
            spawn(&events, "input", move |events| pump(input, writer, watch, events))?;
        } else {
            writer.finish();
        }
        loop {
            match received.recv().context("the session's threads have gone")? {
                Event::Output(Ok(())) => return Ok(End::Output),
                Event::Output(Err(error)) if error.is_broken_pipe() => return Ok(End::Signal(SIGPIPE)),
                Event::Output(Err(error)) => return Err(anyhow::Error::from(error).into()),
                Event::Detached => return Ok(End::Detached),
                Event::Panicked => return Err(panicked()),
                Event::Opened(_) => {}
                Event::Signal(Arrival::Resized) => {
                    if let Some((rows, columns)) = terminal::size().filter(|_| tty) {
                        let _ = orders.send(Order::Resize(rows, columns));
                    }
                }
                Event::Signal(Arrival::Forward { number, .. }) if proxy => {
                    let _ = orders.send(Order::Signal(number));
                }
                Event::Signal(Arrival::Forward { number, .. }) => return Ok(End::Signal(number)),
            }
        }
    }
}

/// What the wait for the stream ended with.
enum Opened {
    Stream(Connection),
    Signal(u32),
}

/// Waits for the stream, or a signal: before there is a stream all of them are this process's.
fn opened(received: &Receiver<Event>) -> Result<Opened, Failure> {
    loop {
        match received.recv().context("the session's threads have gone")? {
            Event::Opened(stream) => return stream.map(Opened::Stream),
            Event::Signal(Arrival::Forward { number, .. }) => return Ok(Opened::Signal(number)),
            Event::Panicked => return Err(panicked()),
            Event::Signal(Arrival::Resized) | Event::Output(_) | Event::Detached => {}
        }
    }
}

fn panicked() -> Failure {
    Failure::new("a thread of the session failed")
}

/// Its number: what ends a program whose output nobody reads.
pub(crate) const SIGPIPE: u32 = 13;

/// The exit code of what a signal ended, as shells count.
pub(crate) fn code_of_signal(number: u32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

/// Starts a thread whose panic is told.
fn spawn(
    events: &Sender<Event>,
    name: &str,
    work: impl FnOnce(&Sender<Event>) + Send + 'static,
) -> Result<(), Failure> {
    struct Guard(Sender<Event>);
    impl Drop for Guard {
        fn drop(&mut self) {
            if thread::panicking() {
                let _ = self.0.send(Event::Panicked);
            }
        }
    }
    let guard = Guard(events.clone());
    let body = move || work(&guard.0);
    thread::Builder::new().name(name.to_owned()).spawn(body).context("cannot start a thread")?;
    Ok(())
}

/// Tells of signals. After the session's end, when the terminal is as before, those that ask for the end of the process
/// get it: it may be waiting for a guest that does not answer.
fn watch(signals: &Signals, events: &Sender<Event>) {
    while let Ok(arrival) = signals.next() {
        if events.send(Event::Signal(arrival)).is_err()
            && let Arrival::Forward { number, .. } = arrival
            && is_termination(number)
        {
            std::process::exit(code_of_signal(number).into());
        }
    }
}

/// Sends what is typed, and the end of it.
fn pump(mut input: File, mut writer: Writer, mut watch: Option<Watch>, events: &Sender<Event>) {
    let mut buffer = vec![0; BUFFER];
    let mut passed = Vec::new();
    loop {
        // An error of standard input, a terminal that hung up, is its end.
        let count = match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count.unwrap_or(0),
        };
        if count == 0 {
            return writer.finish();
        }
        let mut detached = false;
        let typed = match &mut watch {
            None => &buffer[..count],
            Some(watch) => {
                passed.clear();
                detached = watch.pass(&buffer[..count], &mut passed);
                &passed[..]
            }
        };
        // A container that reads no more may still have something to say.
        if writer.write_all(typed).is_err() {
            return;
        }
        if detached {
            let _ = events.send(Event::Detached);
            return;
        }
    }
}
