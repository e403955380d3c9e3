//! `console.log`: the kernel's last words and guest-init's own lines, bounded, and shown where a pod failed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::failure::push_visible;
use pod::PodDir;

/// The most bytes that this side adds to the file.
const LIMIT: u64 = 1 << 20;

/// Bytes of the disk that are the file's from the start: what is said of a disk that has become full fits in.
const RESERVED: u64 = 32 << 10;

/// How many of the last lines are shown, and the bytes at the end among which they are looked for.
const LAST_LINES: usize = 8;
const LAST_BYTES: u64 = 4096;

/// `console.log` of a run.
#[derive(Debug)]
pub(crate) struct Console {
    file: File,
    copy: bool,
}

impl Console {
    /// Empties the file; with `copy` all of it also goes to standard error.
    pub(crate) fn create(dir: &PodDir, copy: bool) -> io::Result<Self> {
        drop(File::options().write(true).create(true).truncate(true).mode(0o600).open(dir.console())?);
        // Several write to the file, each at its end.
        let file = File::options().read(true).append(true).open(dir.console())?;
        // Not every file system can; where there is no room, the files that a run needs will tell.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, RESERVED);
        Ok(Self { file, copy })
    }

    /// A second descriptor of the file.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, copy: self.copy })
    }

    /// The descriptor for the machine's early console, and the reader that [`Self::tee`] needs where it is copied.
    pub(crate) fn sink(&self) -> io::Result<(File, Option<File>)> {
        if !self.copy {
            return Ok((self.file.try_clone()?, None));
        }
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok((File::from(writer), Some(File::from(reader))))
    }

    /// Copies what the early console writes until it is closed.
    pub(crate) fn tee(&mut self, mut reader: File) {
        let mut buffer = [0; 4096];
        while let Ok(count) = reader.read(&mut buffer)
            && count > 0
        {
            let _ = io::stderr().write_all(&buffer[..count]);
            self.append(&buffer[..count]);
        }
    }

    /// A line of guest-init's own.
    pub(crate) fn line(&mut self, text: &[u8]) {
        let mut line = "init: ".to_owned();
        push_visible(&mut line, &String::from_utf8_lossy(text));
        line.push('\n');
        if self.copy {
            let _ = io::stderr().write_all(line.as_bytes());
        }
        self.append(line.as_bytes());
    }

    /// The last lines, with control characters made visible.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let mut file = &self.file;
        let length = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let start = length.saturating_sub(LAST_BYTES);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
        // By the calls that a confined thread has; what is written goes to the end wherever the position is.
        let count = file.seek(SeekFrom::Start(start)).and_then(|_| file.read(&mut bytes)).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]);
        let visible = |line: &str| {
            let mut visible = String::new();
            push_visible(&mut visible, line.trim_end_matches('\r'));
            visible
        };
        let mut lines: Vec<_> = text.lines().rev().take(LAST_LINES).map(visible).collect();
        lines.reverse();
        lines
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.file.seek(SeekFrom::End(0)).is_ok_and(|length| length < LIMIT) {
            // A full disk must not end the pod.
            let _ = self.file.write_all(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_visible_and_the_last_ones_found() {
        let dir = tempfile::tempdir().unwrap();
        let pod = PodDir::new(dir.path()).unwrap();
        std::fs::write(pod.console(), "of an earlier run").unwrap();
        let mut console = Console::create(&pod, false).unwrap();
        for number in 0..100 {
            console.line(format!("line {number}\x1b[2J").as_bytes());
        }
        let (mut sink, reader) = console.sink().unwrap();
        assert!(reader.is_none());
        sink.write_all(b"Kernel panic\r\nno end").unwrap();
        let lines = console.last_lines();
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[5..], ["init: line 99\\u{1b}[2J", "Kernel panic", "no end"]);
        for _ in 0..40 {
            console.line(&[b'x'; 60_000]);
        }
        assert!(std::fs::metadata(pod.console()).unwrap().len() < LIMIT + 70_000);
    }
}
