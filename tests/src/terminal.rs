//! A pseudo-terminal with a program on it, as a person would sit at one. Used by the tests of `-t`.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal; its program ends with the value.
pub struct Terminal {
    child: Child,
    screen: File,
    seen: String,
}

impl Terminal {
    /// Starts `command` as the leader of a session on a new terminal of `rows` and `columns`.
    #[must_use]
    pub fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let screen = File::from(master);
        tcsetwinsize(&screen, size(rows, columns)).unwrap();
        // util-linux's setsid makes the terminal the controlling one, which SIGWINCH needs.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap_or_default());
        }
        let streams = [slave.try_clone().unwrap(), slave.try_clone().unwrap(), slave].map(Stdio::from);
        let [stdin, stdout, stderr] = streams;
        let child = session.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        Self { child, screen, seen: String::new() }
    }

    /// Types `text`.
    pub fn type_in(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.screen, size(rows, columns)).unwrap();
    }

    /// Reads the screen until `wanted` stands on it; what stood before it is forgotten.
    pub fn wait_for(&mut self, wanted: &str) {
        // Where a test hangs, its output tells in what.
        eprintln!("waiting for {wanted:?}");
        loop {
            if let Some(at) = self.seen.find(wanted) {
                self.seen.drain(..at + wanted.len());
                return;
            }
            assert!(self.read_some(), "no {wanted:?} on the screen but {:?}", self.seen);
        }
    }

    /// Reads the screen to its end: what stood on it, and the exit code.
    pub fn end(mut self) -> (String, Option<i32>) {
        while self.read_some() {}
        (std::mem::take(&mut self.seen), self.child.wait().unwrap().code())
    }

    /// False at the end: a terminal without a program answers EIO.
    fn read_some(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.screen.read(&mut bytes) {
            Ok(length) if length > 0 => {
                self.seen += &String::from_utf8_lossy(&bytes[..length]);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
