//! Where the containers' output goes: plain for one container, with `name | ` before each line for several.

use std::io::{self, Write};

/// A line of a container that is longer is broken.
const MAX_LINE: usize = 16 * 1024;

/// Standard output or standard error of the VM's process, shared by the containers.
pub(crate) struct Output<W> {
    out: W,
    /// Empty where output is not prefixed.
    containers: Vec<Prefixed>,
    /// A write failed: the rest is dropped.
    closed: bool,
}

struct Prefixed {
    prefix: String,
    line: Vec<u8>,
}

impl<W: Write> Output<W> {
    /// Output of containers with these names to `out`.
    pub(crate) fn new(out: W, names: &[&str]) -> Self {
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let prefixed = |name: &&str| Prefixed { prefix: format!("{name:width$} | "), line: Vec::new() };
        let containers = if names.len() > 1 { names.iter().map(prefixed).collect() } else { Vec::new() };
        Self { out, containers, closed: false }
    }

    /// Takes bytes of a container. An error is reported once; what comes after it is dropped.
    pub(crate) fn write(&mut self, container: u8, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = match self.containers.get_mut(usize::from(container)) {
            Some(container) => {
                let mut lines = Vec::with_capacity(bytes.len() + container.prefix.len());
                container.take(bytes, &mut lines);
                self.out.write_all(&lines)
            }
            None => self.out.write_all(bytes),
        };
        let written = written.and_then(|()| self.out.flush());
        self.closed = written.is_err();
        written
    }

    /// Writes the lines that were not ended.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        for index in 0..self.containers.len() {
            if !self.containers[index].line.is_empty() {
                self.write(u8::try_from(index).unwrap_or(u8::MAX), b"\n")?;
            }
        }
        Ok(())
    }
}

impl Prefixed {
    fn take(&mut self, bytes: &[u8], lines: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(MAX_LINE) {
                self.line.extend_from_slice(piece);
                let ended = self.line.ends_with(b"\n");
                if ended || self.line.len() >= MAX_LINE {
                    lines.extend_from_slice(self.prefix.as_bytes());
                    lines.append(&mut self.line);
                    if !ended {
                        lines.push(b'\n');
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_container_is_untouched() {
        let mut out = Output::new(Vec::new(), &["web"]);
        out.write(0, b"a\nb").unwrap();
        out.finish().unwrap();
        assert_eq!(out.out, b"a\nb");
    }

    #[test]
    fn lines_of_several_never_mix() {
        let mut out = Output::new(Vec::new(), &["web", "database"]);
        out.write(0, b"one").unwrap();
        out.write(1, b"two\nthree").unwrap();
        out.write(0, b" more\n").unwrap();
        out.finish().unwrap();
        assert_eq!(
            String::from_utf8(out.out).unwrap(),
            "database | two\nweb      | one more\ndatabase | three\n"
        );
    }

    #[test]
    fn a_line_without_end_is_broken() {
        let mut out = Output::new(Vec::new(), &["a", "b"]);
        for _ in 0..5 {
            out.write(0, &[b'x'; MAX_LINE - 1]).unwrap();
        }
        assert!(out.containers[0].line.len() < 2 * MAX_LINE);
        assert!(out.out.starts_with(b"a | xxx"));
    }

    #[test]
    fn an_error_is_told_once() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Output::new(Closed, &["a"]);
        assert!(out.write(0, b"x").is_err());
        assert!(out.write(0, b"x").is_ok());
    }
}
