//! `GET /containers/{id}/logs` (Docker Engine API, "Get container logs").

use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use tokio::sync::watch;

use crate::body::{Body, Sink};
use crate::container::{Container, ContainerState, Status};
use crate::context::Context;
use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError};
use crate::frame::Frame;
use crate::log::timestamp::Formatter;
use crate::log::{LineOptions, Record, Stream};
use crate::query::Query;
use crate::response::{self, Response};
use crate::stdcopy::{self, Kind};
use crate::time;

/// Bytes of lines with times that are made at once, one line aside.
const PIECE: usize = 64 << 10;

/// Bytes of a log whose lines have a frame each, as in Docker: libraries take a frame for a line. Of more the frames would
/// cost their readers more than the bytes.
const LINES: usize = 256 << 10;

/// Bytes that come at once, up to which that holds further on.
const FEW: usize = 4 << 10;

/// How lines are given out.
struct Style {
    encoding: Encoding,
    /// Bytes so far.
    given: usize,
    timestamps: Option<Formatter>,
    details: bool,
}

/// `GET /containers/{id}/logs`.
pub(super) async fn logs<E: Engine>(
    mut context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let query = &context.query;
    let options = line_options(query)?;
    let is_tty = container.spec.process.tty;
    let encoding = if is_tty { Encoding::Raw } else { Encoding::Multiplexed };
    let style = Style {
        encoding,
        given: 0,
        timestamps: query.flag("timestamps").then(Formatter::default),
        details: query.flag("details"),
    };
    let is_told = !is_tty && context.version.at_least(42);
    let content_type = if is_told {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    };
    let follows = query.flag("follow");
    if follows {
        context.follow().await?;
    }
    let closing = context.api.open.closing.subscribe();
    let body = Body::stream(async move |sink| {
        if let Err(error) = copy_out(&container, options, follows, closing, style, &sink).await {
            let text = Bytes::from(format!("Error grabbing logs: {error}\n"));
            sink.send(if is_tty { text.into() } else { stdcopy::frame(Kind::SystemError, text) }).await;
        }
        Ok(())
    });
    Ok(response::typed(StatusCode::OK, content_type, body))
}

/// Gives out lines; with `follows` until the container has ended for good, or the server ends.
async fn copy_out(
    container: &Container,
    options: LineOptions,
    follows: bool,
    mut closing: watch::Receiver<bool>,
    mut style: Style,
    sink: &Sink,
) -> io::Result<()> {
    let lines = container.log.lines(options);
    let mut lines = if style.timestamps.is_none() && !style.details { lines.merged() } else { lines };
    let mut state = container.state.subscribe();
    loop {
        // What a run has written is in the log before its end is in its state.
        let is_over = !follows || has_ended(&state.borrow_and_update()) || *closing.borrow_and_update();
        let next = if is_over {
            lines.next(false).await?
        } else {
            tokio::select! {
                biased;
                next = lines.next(true) => next?,
                _changed = state.changed() => continue,
                _changed = closing.changed() => continue,
            }
        };
        let Some(record) = next else { return Ok(()) };
        style.send(record, sink).await;
    }
}

/// Whether nothing will be written any more unless somebody starts the container.
fn has_ended(state: &ContainerState) -> bool {
    let failed_to_start = state.status == Status::Created && !state.error.is_empty();
    state.removed || state.status == Status::Exited || failed_to_start
}

impl Style {
    async fn send(&mut self, record: Record, sink: &Sink) {
        let Record { stream, time, mut bytes } = record;
        let prefix = self.prefix(time);
        let is_flood = self.given >= LINES && bytes.len() > FEW;
        self.given = self.given.saturating_add(bytes.len());
        if prefix.is_empty() && (self.encoding == Encoding::Raw || is_flood) {
            return sink.send(self.encoding.frame(stream, bytes)).await;
        }
        while !bytes.is_empty() {
            let text = take_lines(self.encoding, stream, &prefix, &mut bytes);
            sink.send(Frame::from(text)).await;
        }
    }

    /// What stands before each line. Docker's details are attributes that a log's options choose; a pod has none of
    /// those, so that nothing is left of them but the blank behind them.
    fn prefix(&mut self, time: SystemTime) -> Vec<u8> {
        let mut prefix = Vec::new();
        if let Some(formatter) = &mut self.timestamps {
            formatter.append(time, &mut prefix);
            prefix.push(b' ');
        }
        if self.details {
            prefix.push(b' ');
        }
        prefix
    }
}

/// Takes lines off the front, each with the prefix before it, and in a frame of its own where there are frames. Not all at once, for empty lines become much longer, and a client that does not read would hold that much
/// memory.
fn take_lines(encoding: Encoding, stream: Stream, prefix: &[u8], bytes: &mut Bytes) -> Bytes {
    let mut text = Vec::with_capacity((prefix.len() + bytes.len() + bytes.len() / 8).min(PIECE));
    let mut taken = 0;
    while taken < bytes.len() && text.len() < PIECE {
        let rest = &bytes[taken..];
        let line = &rest[..memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)];
        if encoding == Encoding::Multiplexed {
            text.extend_from_slice(&stdcopy::header(stream.into(), frame_length(prefix, line)));
        }
        text.extend_from_slice(prefix);
        text.extend_from_slice(line);
        taken += line.len();
    }
    bytes.advance(taken);
    Bytes::from(text)
}

fn frame_length(prefix: &[u8], line: &[u8]) -> u32 {
    u32::try_from(prefix.len() + line.len()).expect("a piece of a stream is shorter than 4 GiB")
}

fn line_options(query: &Query) -> Result<LineOptions, EngineError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(EngineError::BadRequest("Bad parameters: you must choose at least one stream".into()));
    }
    let moment = |name: &str| match query.text(name) {
        None | Some("0") => Ok(None),
        Some(text) => {
            let broken = || EngineError::BadRequest(format!("invalid value for {name:?}: {text:?}"));
            time::parse(text).map(Some).ok_or_else(broken)
        }
    };
    // Docker's `all`, and whatever else is no number.
    let tail = query.text("tail").and_then(|text| text.parse().ok());
    Ok(LineOptions { since: moment("since")?, until: moment("until")?, tail, stdout, stderr })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn options(query: &str) -> Result<LineOptions, EngineError> {
        line_options(&Query::parse(query)?)
    }

    #[test]
    fn reads_what_clients_ask_for() {
        let wanted = LineOptions { stdout: true, tail: Some(2), ..LineOptions::default() };
        assert_eq!(options("stdout=1&tail=2&since=&until=0").unwrap(), wanted);
        for tail in ["all", "-1", "", "x"] {
            assert_eq!(options(&format!("stderr=1&tail={tail}")).unwrap().tail, None, "{tail:?}");
        }
        let since = options("stdout=1&since=1700000000.000000001").unwrap().since;
        assert_eq!(since, Some(UNIX_EPOCH + Duration::new(1_700_000_000, 1)));
    }

    #[test]
    fn refuses_no_stream_and_no_time() {
        let message = |query| options(query).unwrap_err().to_string();
        assert_eq!(message("stdout=0"), "Bad parameters: you must choose at least one stream");
        assert_eq!(message("stdout=1&since=yesterday"), "invalid value for \"since\": \"yesterday\"");
    }

    #[test]
    fn prefixes_every_line_and_pieces_of_lines() {
        let mut style = Style {
            encoding: Encoding::Raw,
            given: 0,
            timestamps: Some(Formatter::default()),
            details: true,
        };
        let time = UNIX_EPOCH + Duration::new(1, 5);
        let stamp = style.prefix(time);
        assert_eq!(stamp, b"1970-01-01T00:00:01.000000005Z  ");
        let lines = || Bytes::from_static(b"one\n\ntwo");
        let text = take_lines(Encoding::Raw, Stream::Stdout, b"> ", &mut lines());
        assert_eq!(text, &b"> one\n> \n> two"[..]);
        let text = take_lines(Encoding::Multiplexed, Stream::Stderr, b"", &mut lines());
        assert_eq!(text, &b"\x02\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x01\n\x02\0\0\0\0\0\0\x03two"[..]);
        style.timestamps = None;
        assert_eq!(style.prefix(time), b" ");
    }

    #[test]
    fn what_a_prefix_makes_long_comes_in_pieces() {
        let (mut lines, mut pieces) = (Bytes::from(vec![b'\n'; PIECE]), Vec::new());
        while !lines.is_empty() {
            pieces.push(take_lines(Encoding::Raw, Stream::Stdout, &[b'x'; 31], &mut lines));
        }
        assert!(pieces.iter().all(|piece| piece.len() < PIECE + 32));
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 32 * PIECE);
    }
}
