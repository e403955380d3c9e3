//! What takes texts and frames apart: however a message is cut by reads, it has to mean the same.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fuzz::{Fuzz, shape};
use vdocker::filters::Filters;
use vdocker::pattern::Pattern;
use vdocker::query::{self, Query};
use vdocker::version::{self, ApiVersion};
use vdocker::websocket::{self, CloseCode, Message, Opcode};
use vdocker::{signal, stdcopy, time};

/// Pieces of an input as reads may give them.
fn cut(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.chunks(1 + input.len() % 11)
}

#[test]
fn frames_of_stdcopy() {
    type Pieces = Vec<(stdcopy::Kind, Vec<u8>)>;
    fn read<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Pieces, bool, bool) {
        let mut decoder = stdcopy::Decoder::default();
        let mut pieces = Pieces::new();
        for mut input in reads {
            loop {
                match decoder.decode(&mut input) {
                    Ok(Some((kind, piece))) => match pieces.last_mut() {
                        Some((last, bytes)) if *last == kind => bytes.extend_from_slice(piece),
                        _ => pieces.push((kind, piece.to_vec())),
                    },
                    Ok(None) => break,
                    Err(_) => return (pieces, true, false),
                }
            }
        }
        (pieces, false, decoder.finish().is_ok())
    }
    let seeds: [&[u8]; 4] = [
        b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x06error\n",
        b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01x",
        b"\0\0\0\0\0\0\0\x02in\x03\0\0\0\0\0\0\x04oops",
        b"\x02\0\0\0\0\x01\0\0partial",
    ];
    Fuzz::new("stdcopy", seeds).run(|input| {
        let whole = read([input].into_iter());
        assert_eq!(whole, read(cut(input)));
        let bytes: usize = whole.0.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= input.len());
        let kinds: Vec<_> = whole.0.iter().map(|(kind, _)| format!("{kind:?}")).take(8).collect();
        shape((kinds, whole.1, whole.2))
    });
}

#[test]
fn frames_of_websockets() {
    fn read<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<CloseCode>) {
        let mut decoder = websocket::Decoder::default();
        let (mut input, mut messages) = (BytesMut::new(), Vec::new());
        for read in reads {
            input.extend_from_slice(read);
            loop {
                match decoder.decode(&mut input) {
                    Ok(Some(Message::Data(data))) => match messages.last_mut() {
                        Some(Message::Data(before)) => before.extend_from_slice(&data),
                        _ => messages.push(Message::Data(data)),
                    },
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(code) => return (messages, Some(code)),
                }
            }
            // A control frame is all that is ever kept.
            assert!(input.len() <= 14 + 125, "{} bytes are kept", input.len());
        }
        (messages, None)
    }
    let mut ours = BytesMut::new();
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping] {
        let mut frame = websocket::frame(opcode, Bytes::from_static(b"payload"));
        ours.extend_from_slice(&bytes::Buf::copy_to_bytes(&mut frame, 9));
    }
    let seeds: [&[u8]; 6] = [
        b"\x82\x83\x01\x02\x03\x04abc\x89\x81\x01\x02\x03\x04x\x88\x82\x00\x00\x00\x00\x03\xe8",
        b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b\x8a\x80\0\0\0\0",
        b"\x82\xfe\x00\x80\x09\x08\x07\x06and more",
        b"\x82\xff\0\0\0\0\0\x01\0\0\x09\x08\x07\x06and much more",
        b"\x88\x80\x01\x02\x03\x04",
        &ours,
    ];
    Fuzz::new("websocket", seeds).run(|input| {
        let (messages, code) = read([input].into_iter());
        assert_eq!((&messages, code), (&read(cut(input)).0, read(cut(input)).1));
        let kinds: Vec<_> = messages.iter().map(std::mem::discriminant).take(8).collect();
        shape((kinds, code.map(|code| code as u16)))
    });
}

#[test]
fn filters() {
    const KNOWN: [&str; 7] = ["label", "name", "id", "status", "exited", "dangling", "health"];
    let seeds = [
        r#"{"label":{"x=y":true},"name":{"^/web$":true}}"#,
        r#"{"label":["tier=front","empty"],"status":["running"]}"#,
        r#"{"dangling":{"false":true},"exited":["137"]}"#,
        r#"{"id":["0a\u00e9\n"],"name":[]}"#,
        "{}",
    ];
    let words = ["\"label\":", "{\"", "\":true}", "[\"", "\"]", "\\u0000", "\\ud800", "null", ".*", "a?"];
    let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned()), ("x".to_owned(), "y".to_owned())]);
    Fuzz::new("filters", seeds).words(words).run(|input| {
        let text = String::from_utf8_lossy(input);
        match Filters::parse(&text, &KNOWN) {
            Ok(filters) => {
                let values: usize = KNOWN.iter().map(|key| filters.values(key).count()).sum();
                assert!(values <= 1024);
                let patterns = filters.patterns("name").map(|patterns| patterns.len()).ok();
                let passes = filters.labels("label", &labels);
                shape((
                    values,
                    patterns,
                    passes,
                    filters.truth("dangling").ok(),
                    filters.exact("status", "running"),
                ))
            }
            Err(error) => shape(error.to_string().chars().take(16).collect::<String>()),
        }
    });
}

#[test]
fn patterns() {
    let seeds = ["^/web$", "a*b+c?", "web", "\\.x.*", "x.y$"];
    let texts = ["", "web", "/web", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "\u{1f980}.x"];
    Fuzz::new("patterns", seeds).words([".*", ".?", "a+", "\\", "^", "$"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        shape(Pattern::parse(&text).map(|pattern| texts.map(|text| pattern.matches(text))))
    });
}

#[test]
fn queries() {
    let seeds = [
        "stderr=1&stdout=1&tail=all&follow=1",
        "filters=%7B%22label%22%3A%7B%22x%3Dy%22%3Atrue%7D%7D&all=1&limit=-1",
        "path=%2Ftmp%2Fa+b&noOverwriteDirNonDir=true&copyUIDGID=0",
        "t=&signal=SIGKILL&t=5&%c3%a9=%c3%a9",
    ];
    Fuzz::new("query", seeds).words(["%00", "%", "&", "=", "+", "%f0%9f%a6%80"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        for plus in [false, true] {
            let decoded = query::decode(&text, plus);
            assert!(decoded.is_none_or(|decoded| decoded.len() <= text.len()));
        }
        let (version, path) = version::split(&text);
        let version = version.map(|version| ApiVersion::negotiate(version).is_ok());
        assert!(text.ends_with(path));
        match Query::parse(&text) {
            Ok(query) => shape((
                query.flag("all"),
                query.number("t").ok(),
                query.text("signal").and_then(|signal| signal::parse(signal).ok()),
                query.all("t").count(),
                query.get("path").map(|path| path.len().min(20)),
                version,
            )),
            Err(error) => shape((error.to_string().chars().take(16).collect::<String>(), version)),
        }
    });
}

#[test]
fn times() {
    let seeds = [
        "1700000000",
        "1700000000.5",
        "1700000000.123456789",
        "2026-11-22T09:16:28.5Z",
        "2026-11-22T09:16:28+02:30",
        "0",
        "-1.5",
        "2024-02-29T23:59:60Z",
    ];
    Fuzz::new("time", seeds).words([".", "T", "Z", "+14:00", "-", "999999999"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        let parsed = time::parse(&text);
        if let Some(parsed) = parsed {
            // What is told of a time that was asked for is that time.
            let told = time::trimmed(parsed);
            assert!(time::parse(&told).is_none_or(|again| again == parsed), "{text}: {told}");
            let _fixed = (time::fixed(parsed), time::unix_nanos(parsed));
        }
        shape((
            parsed.map(|parsed| time::unix(parsed) / 1_000_000_000),
            text.len().min(40),
            text.contains('T'),
        ))
    });
}
