//! What an attached client gets: records of the container's log, until its run is over.

use std::io;
use std::time::SystemTime;

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

use super::Attachment;
use crate::container::ContainerState;
use crate::frame::Frame;
use crate::hijack::Writer;
use crate::log::{From, Record, Stream};

/// What a client's own frames ask for.
pub(super) enum Reply {
    /// Send this between two others.
    Frame(Frame),
    /// Send this as the last.
    Last(Frame),
}

/// Gives out records until the run that goes on, or the next one, has ended and all that it wrote is out; or until
/// the server ends. Returns the frame that a client has asked for as the last.
pub(super) async fn copy_out(
    attachment: &Attachment,
    closing: &watch::Sender<bool>,
    writer: &mut Writer,
    replies: &mut mpsc::Receiver<Reply>,
) -> io::Result<Option<Frame>> {
    let Attachment { container, stream, logs, run, .. } = attachment;
    let (mut state, mut closing) = (container.state.subscribe(), closing.subscribe());
    let exits = state.borrow_and_update().exits;
    let began = SystemTime::now();
    let (before, from) = match run {
        Some(run) => (run.before, From::Run(*run)),
        None if *logs => (exits, From::Start),
        None => (exits, From::End),
    };
    let mut records = container.log.records(from);
    if !(*logs || *stream || run.is_some()) {
        return Ok(None);
    }
    loop {
        // First: under a flood of records a client's farewell would not be heard.
        if let Ok(reply) = replies.try_recv()
            && let Some(last) = give_reply(reply, writer).await?
        {
            return Ok(Some(last));
        }
        // What a run has written is in the log before its end is in its state.
        let now = state.borrow_and_update().clone();
        let is_over = !stream || now.removed || now.exits != before || *closing.borrow_and_update();
        let record = match records.try_next().await? {
            Some(record) => record,
            None if is_over || records.is_over() => return Ok(None),
            None => tokio::select! {
                biased;
                reply = replies.recv() => match reply {
                    Some(reply) => match give_reply(reply, writer).await? {
                        Some(last) => return Ok(Some(last)),
                        None => continue,
                    },
                    None => return Ok(None),
                },
                record = records.next() => record?,
                _changed = state.changed() => continue,
                _changed = closing.changed() => continue,
            },
        };
        if last_moment(&now, before, *stream, began).is_some_and(|last| record.time > last) {
            return Ok(None);
        }
        send(attachment, record, writer).await?;
    }
}

/// Sends what a client's own frame asked for, but the last, which is returned.
async fn give_reply(reply: Reply, writer: &mut Writer) -> io::Result<Option<Frame>> {
    match reply {
        Reply::Last(frame) => Ok(Some(frame)),
        Reply::Frame(mut frame) => writer.write_all_buf(&mut frame).await.map(|()| None),
    }
}

/// What comes later belongs to another run, or is not wanted.
fn last_moment(state: &ContainerState, before: u64, stream: bool, began: SystemTime) -> Option<SystemTime> {
    let next_run = state.started.filter(|_| state.exits != before && state.is_running());
    if stream { next_run } else { Some(began) }
}

async fn send(attachment: &Attachment, record: Record, writer: &mut Writer) -> io::Result<()> {
    let is_wanted = match record.stream {
        Stream::Stdout => attachment.streams.stdout,
        Stream::Stderr => attachment.streams.stderr,
    };
    if !is_wanted {
        return Ok(());
    }
    writer.write_all_buf(&mut attachment.encoding.frame(record.stream, record.bytes)).await
}
