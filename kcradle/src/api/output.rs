//! Output of containers on its way to the user's standard output and error: as it is, or taken out of Docker's frames.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd as _;

use thiserror::Error;
use vdocker::stdcopy::{DecodeError, Decoder, Kind};

/// Where output goes.
pub(crate) struct Output {
    out: File,
    err: File,
}

/// Why output was not passed on to its end.
#[derive(Debug, Error)]
pub(crate) enum OutputError {
    /// The pod broke off.
    #[error("lost the connection to the pod")]
    Read(#[source] io::Error),
    /// Nobody takes the output, or there is no room for it.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// What came is no output.
    #[error("the pod's output is malformed")]
    Frame(#[from] DecodeError),
    /// The API has an error to tell.
    #[error("error from daemon in stream: {0}")]
    Daemon(String),
}

impl OutputError {
    /// Whether the reader of the output has gone: programs end without a word then.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Pieces of this many bytes are not worth a copy.
const LARGE: usize = 4096;
/// The longest error of the API that is told, in bytes.
const MAX_MESSAGE: usize = 4096;

impl Output {
    /// The process's own streams, without the line buffering of the standard library.
    pub(crate) fn standard() -> io::Result<Self> {
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        let err = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Self { out: File::from(out), err: File::from(err) })
    }

    /// Passes on bytes as they are, which is how a terminal's output comes.
    pub(crate) fn copy_raw(&self, mut input: impl BufRead) -> Result<(), OutputError> {
        loop {
            let bytes = fill(&mut input)?;
            let count = bytes.len();
            if count == 0 {
                return Ok(());
            }
            (&self.out).write_all(bytes).map_err(OutputError::Write)?;
            input.consume(count);
        }
    }

    /// Passes on the streams that come in frames.
    pub(crate) fn copy_frames(&self, mut input: impl BufRead) -> Result<(), OutputError> {
        let mut decoder = Decoder::default();
        // Neighbouring pieces of one stream go out together.
        let mut pending = Vec::new();
        let mut last = Kind::Stdout;
        loop {
            let mut bytes = fill(&mut input)?;
            let count = bytes.len();
            if count == 0 {
                return Ok(decoder.finish()?);
            }
            while let Some((kind, piece)) = decoder.decode(&mut bytes)? {
                if kind != last {
                    self.write(last, &pending)?;
                    pending.clear();
                    last = kind;
                }
                if pending.is_empty() && piece.len() >= LARGE {
                    self.write(kind, piece)?;
                } else {
                    pending.extend_from_slice(piece);
                }
            }
            self.write(last, &pending)?;
            pending.clear();
            input.consume(count);
        }
    }

    fn write(&self, kind: Kind, bytes: &[u8]) -> Result<(), OutputError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let to = match kind {
            Kind::Stdin | Kind::Stdout => &self.out,
            Kind::Stderr => &self.err,
            Kind::SystemError => {
                let bytes = &bytes[..bytes.len().min(MAX_MESSAGE)];
                return Err(OutputError::Daemon(String::from_utf8_lossy(bytes).into_owned()));
            }
        };
        { to }.write_all(bytes).map_err(OutputError::Write)
    }
}

fn fill(input: &mut impl BufRead) -> Result<&[u8], OutputError> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OutputError::Read(error)),
            // Asked again, as a borrow cannot leave the loop: nothing is read anew.
            Ok(_) => return input.fill_buf().map_err(OutputError::Read),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn output() -> (Output, File, File) {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let output = Output { out: out.try_clone().unwrap(), err: err.try_clone().unwrap() };
        (output, out, err)
    }

    fn written(mut file: File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0][..], &length, payload].concat()
    }

    #[test]
    fn streams_part_and_errors_of_the_api_are_told() {
        let all = [frame(1, b"a"), frame(2, b"x"), frame(1, b"b"), frame(1, b"c")].concat();
        for size in [1, 7, 100] {
            let (output, out, err) = output();
            output.copy_frames(io::BufReader::with_capacity(size, &all[..])).unwrap();
            assert_eq!((written(out), written(err)), ("abc".to_owned(), "x".to_owned()));
        }
        let (output, out, _err) = output();
        let error = output.copy_frames(&[frame(1, b"a"), frame(3, b"no more")].concat()[..]).unwrap_err();
        assert_eq!(
            (error.to_string(), written(out)),
            ("error from daemon in stream: no more".into(), "a".into())
        );
    }

    #[test]
    fn a_stream_that_breaks_off_is_an_error() {
        let (output, out, _err) = output();
        let all = frame(1, b"whole");
        assert!(matches!(output.copy_frames(&all[..10]), Err(OutputError::Frame(DecodeError::Truncated(_)))));
        assert_eq!(written(out), "wh");
    }
}
