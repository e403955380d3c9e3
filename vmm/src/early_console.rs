//! The early console: the transmitter of a 16550 UART at port 0x3f8, enough for Linux's
//! `earlyprintk=ttyS0`, copied to a file. A panic's last words come this way.
//!
//! Called by `ports` from vCPU threads. A flooding guest fills the file to its limit and starts it over.

use std::fs::File;
use std::io::{Seek, Write};

/// The first port of the UART.
pub(crate) const FIRST_PORT: u16 = 0x3f8;
/// The last port of the UART.
pub(crate) const LAST_PORT: u16 = FIRST_PORT + 7;

/// The most bytes that the file holds; what goes over it drops all that was before.
pub const LIMIT: u64 = 1 << 20;

/// The first line of a file that was started over.
const DROPPED: &[u8] = b"[earlier output dropped]\n";

/// Bytes gathered before a line's end.
const LINE: usize = 1024;

/// Register offsets.
const DATA: u16 = 0;
const LINE_CONTROL: u16 = 3;
const LINE_STATUS: u16 = 5;
/// Line control: the data register is the divisor's low byte.
const DIVISOR_LATCH: u8 = 1 << 7;
/// Line status: transmitter and its holding register are empty.
const READY: u8 = 0x60;

/// The UART and where its output goes.
pub(crate) struct EarlyConsole {
    sink: Option<File>,
    line: Vec<u8>,
    written: u64,
    limit: u64,
    line_control: u8,
}

impl EarlyConsole {
    /// A UART whose output goes to `sink`, or nowhere.
    pub(crate) fn new(sink: Option<File>) -> Self {
        let written =
            sink.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        Self { sink, line: Vec::with_capacity(LINE), written, limit: LIMIT, line_control: 0 }
    }

    /// A register's value; `port` is one of the UART's.
    pub(crate) fn read(&self, port: u16) -> u8 {
        match port - FIRST_PORT {
            LINE_STATUS => READY,
            LINE_CONTROL => self.line_control,
            _ => 0,
        }
    }

    /// Writes a register; `port` is one of the UART's.
    pub(crate) fn write(&mut self, port: u16, value: u8) {
        match port - FIRST_PORT {
            LINE_CONTROL => self.line_control = value,
            DATA if self.line_control & DIVISOR_LATCH == 0 && self.sink.is_some() => {
                self.line.push(value);
                if value == b'\n' || self.line.len() == LINE {
                    self.flush();
                }
            }
            _ => {}
        }
    }

    /// Writes out what was gathered. Output that cannot be written is lost: the guest must not stop for it.
    pub(crate) fn flush(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        if self.written + self.line.len() as u64 > self.limit && start_over(sink) {
            self.written = DROPPED.len() as u64;
        }
        let _ = sink.write_all(&self.line);
        self.written += self.line.len() as u64;
        self.line.clear();
    }
}

/// Empties the file; false where it has no size to limit, as a terminal.
fn start_over(sink: &mut File) -> bool {
    sink.set_len(0).and_then(|()| sink.rewind()).and_then(|()| sink.write_all(DROPPED)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn print(console: &mut EarlyConsole, text: &[u8]) {
        for byte in text {
            assert_eq!(console.read(FIRST_PORT + LINE_STATUS) & READY, READY);
            console.write(FIRST_PORT, *byte);
        }
    }

    fn content(file: &mut File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn text_comes_through_and_the_divisor_does_not() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = EarlyConsole::new(Some(file.try_clone().unwrap()));
        let control = console.read(FIRST_PORT + LINE_CONTROL);
        console.write(FIRST_PORT + LINE_CONTROL, control | DIVISOR_LATCH);
        console.write(FIRST_PORT, 1);
        console.write(FIRST_PORT + 1, 0);
        console.write(FIRST_PORT + LINE_CONTROL, control);
        print(&mut console, b"Kernel panic\nno line feed");
        console.flush();
        assert_eq!(content(&mut file), b"Kernel panic\nno line feed");
    }

    #[test]
    fn a_flood_stays_below_the_limit_and_keeps_the_last_words() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = EarlyConsole::new(Some(file.try_clone().unwrap()));
        console.limit = 4096;
        for n in 0..5000 {
            print(&mut console, format!("line {n}\n").as_bytes());
            assert!(file.metadata().unwrap().len() <= 4096);
        }
        let content = content(&mut file);
        assert!(content.starts_with(DROPPED));
        assert!(content.ends_with(b"line 4998\nline 4999\n"));
    }

    #[test]
    fn a_line_without_end_is_held_in_bounded_memory() {
        let mut console = EarlyConsole::new(Some(tempfile::tempfile().unwrap()));
        print(&mut console, &[b'x'; 10 * LINE]);
        assert_eq!(console.line.capacity(), LINE);
    }
}
