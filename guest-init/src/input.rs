//! A container's standard input on its way to the process: from the host ([`spec::frame::STDIN_WINDOW`]) and from
//! clients of the pod's API, in the order in which it came.

use crate::watch::watch;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use spec::frame::STDIN_WINDOW;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};
use tokio::io::Interest;
use tokio::sync::Notify;

/// Bytes that all clients together may have waiting.
const CLIENT_WINDOW: usize = 64 * 1024;

/// Clients that are kept waiting for room, at most. Those that have gone are still among them: beyond that all ask again.
const MAX_CLIENTS: usize = 512;

/// Bytes that no process has taken yet, at most a window of each source.
#[derive(Debug, Default)]
pub(crate) struct Input {
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<u8>,
    /// Whose the waiting bytes are, in order.
    parts: VecDeque<(Source, usize)>,
    /// Bytes of the host that were taken and not reported yet.
    taken: usize,
    ended: bool,
    /// Clients that wait for room.
    clients: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Host,
    Client,
}

/// The host sent more than the window allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WindowExceeded;

impl State {
    fn waiting_of(&self, source: Source) -> usize {
        self.parts.iter().filter(|(of, _)| *of == source).map(|(_, count)| count).sum()
    }

    fn add(&mut self, source: Source, bytes: &[u8]) {
        self.waiting.extend(bytes);
        match self.parts.back_mut() {
            Some((last, count)) if *last == source => *count += bytes.len(),
            _ => self.parts.push_back((source, bytes.len())),
        }
    }

    /// The first bytes are gone.
    fn take(&mut self, mut count: usize) {
        self.waiting.drain(..count);
        while let Some((source, part)) = self.parts.front_mut() {
            let of_part = count.min(*part);
            *part -= of_part;
            count -= of_part;
            if *source == Source::Host {
                self.taken += of_part;
            }
            if *part > 0 {
                break;
            }
            self.parts.pop_front();
        }
        self.clients.drain(..).for_each(Waker::wake);
    }
}

impl Input {
    /// Adds bytes from the host; those after the end of input are thrown away.
    ///
    /// # Errors
    /// [`WindowExceeded`], with nothing added.
    pub(crate) fn push(&self, bytes: &[u8]) -> Result<(), WindowExceeded> {
        let mut state = self.state.borrow_mut();
        // Bytes taken but not reported yet are still in the window as the host sees it.
        if state.waiting_of(Source::Host) + state.taken + bytes.len() > STDIN_WINDOW {
            return Err(WindowExceeded);
        }
        if state.ended {
            state.taken += bytes.len();
        } else {
            state.add(Source::Host, bytes);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Adds as many bytes from a client as there is room for; an error after the end of input.
    pub(crate) fn poll_push(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CLIENT_WINDOW.saturating_sub(state.waiting_of(Source::Client));
        if room == 0 {
            if !state.clients.iter().any(|waker| waker.will_wake(context.waker())) {
                if state.clients.len() >= MAX_CLIENTS {
                    state.clients.drain(..).for_each(Waker::wake);
                }
                state.clients.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        state.add(Source::Client, &bytes[..count]);
        self.changed.notify_one();
        Poll::Ready(Ok(count))
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        state.clients.drain(..).for_each(Waker::wake);
        self.changed.notify_one();
    }

    /// Throws away what waits: nobody will read it.
    pub(crate) fn discard(&self) {
        let mut state = self.state.borrow_mut();
        let count = state.waiting.len();
        state.take(count);
    }

    /// Gives the process what comes, for as long as it lives; `report` is called when some was taken. Closes the
    /// descriptor at the end of input, except a terminal's, where there is no such thing; and where the process
    /// has closed its side.
    pub(crate) async fn run(&self, stdin: OwnedFd, terminal: bool, report: impl Fn()) {
        let closed = async {
            let stdin = watch(stdin, Interest::WRITABLE)?;
            loop {
                while self.is_waiting() {
                    stdin.async_io(Interest::WRITABLE, |stdin| self.feed(stdin)).await?;
                    report();
                }
                if self.state.borrow().ended && !terminal {
                    return Ok::<(), io::Error>(());
                }
                self.changed.notified().await;
            }
        };
        // An error is the process's: it reads no more.
        let _reader_is_gone = closed.await;
        loop {
            self.discard();
            report();
            self.changed.notified().await;
        }
    }

    /// Bytes to report to the host as taken since the last call.
    pub(crate) fn take_taken(&self) -> Option<u32> {
        let taken = std::mem::take(&mut self.state.borrow_mut().taken);
        u32::try_from(taken).ok().filter(|taken| *taken > 0)
    }

    fn is_waiting(&self) -> bool {
        !self.state.borrow().waiting.is_empty()
    }

    /// Writes once.
    fn feed(&self, stdin: &OwnedFd) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        match rustix::io::write(stdin, state.waiting.as_slices().0) {
            Ok(count) => state.take(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        (read, write)
    }

    fn read(pipe: &OwnedFd) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let count = rustix::io::read(pipe, &mut buffer).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn the_window_is_kept_and_given_back() {
        let (from, to) = pipe();
        let input = Input::default();
        input.push(&vec![7; STDIN_WINDOW]).unwrap();
        assert_eq!(input.push(b"x"), Err(WindowExceeded));
        input.feed(&to).unwrap();
        assert!(input.is_waiting(), "a pipe holds less than a window");
        assert_eq!(input.feed(&to).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // Taken and not reported: the host could not know yet.
        assert_eq!(input.push(b"x"), Err(WindowExceeded));
        let taken = input.take_taken().unwrap() as usize;
        input.push(&vec![8; taken]).unwrap();
        let mut seen = Vec::new();
        while seen.len() < STDIN_WINDOW + taken {
            seen.extend(read(&from));
            while input.is_waiting() && input.feed(&to).is_ok() {}
        }
        assert!(seen[..STDIN_WINDOW].iter().all(|b| *b == 7) && seen[STDIN_WINDOW..].iter().all(|b| *b == 8));
        assert_eq!(input.take_taken().unwrap() as usize, STDIN_WINDOW);
        assert_eq!(input.take_taken(), None);
    }

    #[tokio::test]
    async fn the_end_comes_after_the_last_byte() {
        let (from, to) = pipe();
        let input = Input::default();
        input.push(b"last").unwrap();
        input.end();
        input.push(b"late").unwrap();
        let seen = async {
            let mut taken = 0;
            while taken < 8 {
                tokio::task::yield_now().await;
                taken += input.take_taken().unwrap_or_default();
            }
            (read(&from), read(&from))
        };
        tokio::select! {
            () = input.run(to, false, || ()) => {}
            seen = seen => assert_eq!(seen, (b"last".to_vec(), Vec::new())),
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_takes_everything() {
        let (from, to) = pipe();
        drop(from);
        let input = Input::default();
        input.push(b"lost").unwrap();
        let reported = crate::latch::Latch::default();
        let report = || {
            if input.take_taken() == Some(4) {
                reported.set();
            }
        };
        tokio::select! {
            () = input.run(to, false, report) => {}
            () = reported.wait() => {}
        }
        assert!(!input.is_waiting());
    }

    #[tokio::test]
    async fn a_terminal_stays_open_at_the_end_of_input() {
        let (from, to) = pipe();
        let input = Input::default();
        input.end();
        rustix::io::ioctl_fionbio(&from, true).unwrap();
        let open = async {
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            rustix::io::read(&from, &mut [0; 1])
        };
        tokio::select! {
            () = input.run(to, true, || ()) => {}
            open = open => assert_eq!(open, Err(Errno::AGAIN)),
        }
    }

    #[tokio::test]
    async fn clients_wait_for_room_and_do_not_use_up_the_hosts() {
        let (from, to) = pipe();
        let input = Input::default();
        let bytes = vec![9; 3 * CLIENT_WINDOW];
        let client = async {
            let mut sent = 0;
            while sent < bytes.len() {
                sent += poll_fn(|context| input.poll_push(context, &bytes[sent..])).await.unwrap();
                assert!(input.state.borrow().waiting_of(Source::Client) <= CLIENT_WINDOW);
            }
        };
        let mut seen = 0;
        let reader = async {
            input.push(&vec![7; STDIN_WINDOW]).unwrap();
            while seen < bytes.len() + STDIN_WINDOW {
                tokio::task::yield_now().await;
                if rustix::io::ioctl_fionread(&from).unwrap() > 0 {
                    seen += read(&from).len();
                }
            }
        };
        tokio::select! {
            () = input.run(to, false, || ()) => {}
            _ = async { tokio::join!(client, reader) } => {}
        }
        assert_eq!(input.take_taken().unwrap() as usize, STDIN_WINDOW);
        input.end();
        let late = poll_fn(|context| input.poll_push(context, b"late")).await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn clients_that_have_gone_leave_nothing_behind() {
        let input = Input::default();
        let full = poll_fn(|context| input.poll_push(context, &vec![9; CLIENT_WINDOW])).await;
        assert_eq!(full.unwrap(), CLIENT_WINDOW);
        let local = tokio::task::LocalSet::new();
        let input = std::rc::Rc::new(input);
        local
            .run_until(async {
                for _ in 0..3 * MAX_CLIENTS {
                    let own = std::rc::Rc::clone(&input);
                    let client = tokio::task::spawn_local(async move {
                        poll_fn(|context| own.poll_push(context, b"x")).await
                    });
                    tokio::task::yield_now().await;
                    client.abort();
                    assert!(client.await.unwrap_err().is_cancelled());
                    assert!(input.state.borrow().clients.len() <= MAX_CLIENTS);
                }
            })
            .await;
    }
}
