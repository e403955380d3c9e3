//! A pod directory and a running `kcradle run` on it. Used by every end-to-end test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Host;

/// A pod directory.
pub struct Pod<'h> {
    host: &'h Host,
    path: PathBuf,
}

impl<'h> Pod<'h> {
    pub(crate) fn new(host: &'h Host, path: PathBuf) -> Self {
        Self { host, path }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory as an argument.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// `kcradle run DIR`, not started yet.
    #[must_use]
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = self.host.kcradle(["run"]);
        command.args(options).arg(&self.path);
        command
    }

    /// Runs the pod to its end with nothing on standard input.
    #[must_use]
    pub fn run(&self) -> Ended {
        self.run_with(&[])
    }

    /// Runs the pod to its end with options of `kcradle run`.
    #[must_use]
    pub fn run_with(&self, options: &[&str]) -> Ended {
        Ended::of(&mut self.command(options))
    }

    /// `kcradle VERB DIR` with arguments behind it.
    #[must_use]
    pub fn verb(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.kcradle([verb]);
        command.arg(&self.path).args(arguments);
        command
    }

    /// Starts the pod with pipes to all three standard streams.
    #[must_use]
    pub fn start(&self) -> Running {
        let mut command = self.command(&[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().unwrap())
    }

    /// Runs the pod to its end with `input` on standard input.
    #[must_use]
    pub fn feed(&self, input: &[u8]) -> Ended {
        let mut running = self.start();
        let mut stdin = running.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            running.end()
        })
    }
}

/// How `kcradle run` ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// How a command ends, with what it writes.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }

    /// Standard output of a run that must have ended with 0.
    #[must_use]
    pub fn good(&self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.out(), self.err());
        self.out()
    }

    /// What one container of several wrote to standard output, in a run that must have ended with 0.
    #[must_use]
    pub fn good_of(&self, container: &str) -> String {
        let all = self.good();
        let lines = all.split_inclusive('\n').filter_map(|line| line.split_once(" | "));
        lines.filter(|(name, _)| name.trim_end() == container).map(|(_, text)| text).collect()
    }

    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A `kcradle run` that has not ended; ends with the value.
pub struct Running {
    child: Child,
    /// Where its standard input comes from.
    pub stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Running {
    /// A `kcradle run` whose standard output and error are pipes.
    #[must_use]
    pub fn new(mut child: Child) -> Self {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take().unwrap(), child.stderr.take());
        Self { child, stdin, stdout: BufReader::new(stdout), stderr }
    }

    /// Reads standard output up to the line that contains `wanted`, which it returns.
    pub fn wait_for(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = Vec::new();
            let length = self.stdout.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line).into_owned();
            if length == 0 {
                let status = self.child.wait().unwrap();
                let mut errors = String::new();
                self.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("no {wanted:?} on standard output but {seen:?}; {status}; standard error: {errors}");
            }
            if line.contains(wanted) {
                return line.trim_end().to_owned();
            }
            seen += &line;
        }
    }

    /// Sends a signal to the VM's process.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The process id of the VM's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Reads both streams to their end and waits. Standard input is closed unless it was taken.
    pub fn end(&mut self) -> Ended {
        drop(self.stdin.take());
        let mut stderr = self.stderr.take().unwrap();
        let (stdout, stderr) = std::thread::scope(|scope| {
            let errors = scope.spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).map(|_| bytes)
            });
            let mut bytes = Vec::new();
            self.stdout.read_to_end(&mut bytes).unwrap();
            (bytes, errors.join().unwrap().unwrap())
        });
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already reaped where the test saw the end: both calls then fail or answer at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
