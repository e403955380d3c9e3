//! Standard input on its way to the guest, never further ahead of the container than the window of
//! [`spec::frame::STDIN_WINDOW`].

use std::io::Read;
use std::sync::{Condvar, Mutex, PoisonError};

use spec::frame::{MAX_PAYLOAD, STDIN_WINDOW};

use super::frames::Frame;

/// Bytes that were sent and not yet taken by the container.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pending: Mutex<usize>,
    changed: Condvar,
}

impl Window {
    /// Waits until there is room, and takes at most `wanted` bytes of it.
    fn reserve(&self, wanted: usize) -> usize {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while *pending >= STDIN_WINDOW {
            pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let granted = wanted.min(STDIN_WINDOW - *pending);
        *pending += granted;
        granted
    }

    /// The container took bytes, or room was not needed after all. The guest's word: more than is due counts as all.
    pub(crate) fn release(&self, bytes: usize) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        *pending = pending.saturating_sub(bytes);
        self.changed.notify_all();
    }
}

/// Sends all of `input` to the container, then its end. Returns early where `send` says that nobody takes it.
pub(crate) fn pump(mut input: impl Read, container: u8, window: &Window, send: impl Fn(Frame) -> bool) {
    let mut buffer = vec![0; MAX_PAYLOAD];
    loop {
        let room = window.reserve(buffer.len());
        // An error of standard input, a terminal that hung up, is its end.
        let count = input.read(&mut buffer[..room]).unwrap_or(0);
        window.release(room - count);
        if count == 0 {
            send(Frame::stdin_eof(container));
            return;
        }
        if !send(Frame::stdin(container, &buffer[..count])) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::run::frames::FrameReader;

    #[test]
    fn input_stops_at_the_window_and_goes_on_when_it_is_taken() {
        let window = Window::default();
        let input: Vec<u8> = (0..3 * STDIN_WINDOW).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| pump(&input[..], 0, &window, |frame| sender.send(frame).is_ok()));
            let (mut taken, mut pending) = (Vec::new(), 0);
            while taken.len() < input.len() {
                let mut wire = Vec::new();
                receiver.recv().unwrap().write(&mut wire).unwrap();
                let payload = FrameReader::new(&wire[..]).next().unwrap().unwrap().1.to_vec();
                pending += payload.len();
                assert!(pending <= STDIN_WINDOW);
                taken.extend(payload);
                if pending == STDIN_WINDOW || taken.len() == input.len() {
                    assert!(receiver.try_recv().is_err() || taken.len() == input.len());
                    window.release(pending);
                    pending = 0;
                }
            }
            assert!(taken == input);
            assert_eq!(receiver.recv().unwrap(), Frame::stdin_eof(0));
        });
    }

    #[test]
    fn a_lying_guest_gains_no_more_than_the_window() {
        let window = Window::default();
        assert_eq!(window.reserve(10), 10);
        window.release(usize::MAX);
        assert_eq!(window.reserve(usize::MAX), STDIN_WINDOW);
    }
}
