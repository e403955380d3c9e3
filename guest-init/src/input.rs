//! A container's standard input on its way from the host to the process ([`spec::frame::STDIN_WINDOW`]).

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use spec::frame::STDIN_WINDOW;
use std::collections::VecDeque;

/// Bytes that the host has sent and no process has taken yet, at most a window of them.
#[derive(Debug, Default)]
pub(crate) struct Input {
    waiting: VecDeque<u8>,
    taken: usize,
    ended: bool,
}

/// The host sent more than the window allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WindowExceeded;

impl Input {
    /// Adds bytes from the host; those after the end of input are thrown away.
    ///
    /// # Errors
    /// [`WindowExceeded`], with nothing added.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), WindowExceeded> {
        // Bytes taken but not reported yet are still in the window as the host sees it.
        if self.waiting.len() + self.taken + bytes.len() > STDIN_WINDOW {
            return Err(WindowExceeded);
        }
        if self.ended {
            self.taken += bytes.len();
        } else {
            self.waiting.extend(bytes);
        }
        Ok(())
    }

    /// No more will come.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether something waits for the process.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Throws away what waits: nobody will read it.
    pub(crate) fn discard(&mut self) {
        self.taken += self.waiting.len();
        self.waiting.clear();
    }

    /// Gives the process what it takes now. Closes the descriptor at the end of input, except a terminal's,
    /// where there is no such thing; and where the process has closed its side.
    pub(crate) fn feed(&mut self, stdin: &mut Option<OwnedFd>, terminal: bool) {
        while let Some(fd) = stdin
            && self.is_waiting()
        {
            match rustix::io::write(&*fd, self.waiting.as_slices().0) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.taken += count;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    *stdin = None;
                    self.discard();
                }
            }
        }
        if self.ended && !terminal && !self.is_waiting() {
            *stdin = None;
        }
    }

    /// Bytes to report as taken since the last call.
    pub(crate) fn take_taken(&mut self) -> Option<u32> {
        let taken = std::mem::take(&mut self.taken);
        u32::try_from(taken).ok().filter(|taken| *taken > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, Option<OwnedFd>) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        (read, Some(write))
    }

    #[test]
    fn the_window_is_kept_and_given_back() {
        let (read, mut stdin) = pipe();
        let mut input = Input::default();
        input.push(&vec![7; STDIN_WINDOW]).unwrap();
        assert_eq!(input.push(b"x"), Err(WindowExceeded));
        input.feed(&mut stdin, false);
        assert!(input.is_waiting(), "a pipe holds less than a window");
        // Taken and not reported: the host could not know yet.
        assert_eq!(input.push(b"x"), Err(WindowExceeded));
        let taken = input.take_taken().unwrap() as usize;
        input.push(&vec![8; taken]).unwrap();
        let mut seen = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while seen.len() < STDIN_WINDOW + taken {
            let count = rustix::io::read(&read, &mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
            input.feed(&mut stdin, false);
        }
        assert!(seen[..STDIN_WINDOW].iter().all(|b| *b == 7) && seen[STDIN_WINDOW..].iter().all(|b| *b == 8));
        assert_eq!(input.take_taken().unwrap() as usize, STDIN_WINDOW);
        assert_eq!(input.take_taken(), None);
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let (read, mut stdin) = pipe();
        let mut input = Input::default();
        input.push(b"last").unwrap();
        input.end();
        input.push(b"late").unwrap();
        input.feed(&mut stdin, false);
        assert!(stdin.is_none());
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::read(&read, &mut buffer).unwrap(), 4);
        assert_eq!(rustix::io::read(&read, &mut buffer).unwrap(), 0);
        assert_eq!(input.take_taken(), Some(8));
    }

    #[test]
    fn a_reader_that_is_gone_takes_everything() {
        let (read, mut stdin) = pipe();
        drop(read);
        let mut input = Input::default();
        input.push(b"lost").unwrap();
        input.feed(&mut stdin, false);
        assert!(stdin.is_none());
        assert_eq!(input.take_taken(), Some(4));
    }

    #[test]
    fn a_terminal_stays_open_at_the_end_of_input() {
        let (_read, mut stdin) = pipe();
        let mut input = Input::default();
        input.end();
        input.feed(&mut stdin, true);
        assert!(stdin.is_some());
    }
}
