//! Attach over a WebSocket: what the container writes in frames, what the client's frames carry as its input.

use std::pin::pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Attachment;
use super::output::{self, Reply};
use crate::engine::Engine;
use crate::hijack::{Hijacked, Reader};
use crate::pod::Pod;
use crate::websocket::{CloseCode, Decoder, Message, close_frame, pong_frame};

/// Bytes that are read from a client at a time.
const READ: usize = 16 << 10;

/// Replies that wait to be sent; a client that asks for more meanwhile is not read from.
const REPLIES: usize = 4;

/// Serves an attached client until the container's run is over, the client closes or is gone.
pub(crate) async fn run<E: Engine>(api: Rc<Pod<E>>, attachment: Attachment, stream: Hijacked) {
    let (mut reader, mut writer) = stream.split();
    let (replier, mut replies) = mpsc::channel(REPLIES);
    let end = tokio::select! {
        biased;
        end = output::copy_out(&attachment, &api.open.closing, &mut writer, &mut replies) => end,
        () = copy_in(&*api.engine, &attachment, &mut reader, &replier) => return,
    };
    let Ok(last) = end else { return };
    let mut last = last.unwrap_or_else(|| close_frame(&CloseCode::Normal.to_bytes()));
    if writer.write_all_buf(&mut last).await.is_ok() {
        writer.finish(reader).await;
    }
}

/// Takes the client's frames apart. Returns when the client is gone.
async fn copy_in<E: Engine>(
    engine: &E,
    attachment: &Attachment,
    reader: &mut Reader,
    replier: &mpsc::Sender<Reply>,
) {
    let mut decoder = Decoder::default();
    let mut bytes = BytesMut::new();
    let mut gone = pin!(reader.gone());
    let mut stdin = tokio::select! {
        biased;
        stdin = attachment.stdin(engine) => stdin,
        () = &mut gone => return,
    };
    let last = 'client: loop {
        bytes.reserve(READ);
        if !reader.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
            return;
        }
        loop {
            match decoder.decode(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Message::Data(mut data))) => {
                    let Some(input) = stdin.as_mut() else { continue };
                    let written = tokio::select! {
                        biased;
                        written = input.write_all_buf(&mut data) => written,
                        () = &mut gone => return,
                    };
                    if written.is_err() {
                        stdin = None;
                    }
                }
                Ok(Some(Message::Ping(payload))) => {
                    // The receiver lives as long as this future.
                    let _sent = replier.send(Reply::Frame(pong_frame(payload))).await;
                }
                Ok(Some(Message::Pong)) => {}
                Ok(Some(Message::Close(payload))) => break 'client payload,
                Err(code) => break 'client Bytes::copy_from_slice(&code.to_bytes()),
            }
        }
    };
    if attachment.closes_stdin()
        && let Some(mut input) = stdin
    {
        // Whoever reads it may be gone.
        let _closed = input.shutdown().await;
    }
    let _sent = replier.send(Reply::Last(close_frame(&last))).await;
    std::future::pending::<()>().await;
}
