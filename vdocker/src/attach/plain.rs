//! Attach over a connection as it is.

use std::rc::Rc;

use tokio::sync::mpsc;

use super::{Attachment, output};
use crate::detach::Watch;
use crate::engine::Engine;
use crate::events::Event;
use crate::hijack::{Hijacked, Reader};
use crate::pod::Pod;

/// Serves an attached client until the container's run is over, or the client leaves or is gone.
pub(crate) async fn run<E: Engine>(api: Rc<Pod<E>>, attachment: Attachment, stream: Hijacked) {
    let (mut reader, mut writer) = stream.split();
    // Nobody sends: the client's bytes are nothing but input.
    let (_replier, mut replies) = mpsc::channel(1);
    let is_served = tokio::select! {
        biased;
        end = output::copy_out(&attachment, &api.open.closing, &mut writer, &mut replies) => end.is_ok(),
        has_left = copy_in(&*api.engine, &attachment, &mut reader) => {
            if has_left {
                api.engine.events().push(Event::now(&attachment.container, "detach", &[]));
            }
            has_left
        }
    };
    if is_served {
        writer.finish(reader).await;
    }
}

/// Returns when the client is gone, or has left by its keys: then `true`.
async fn copy_in<E: Engine>(engine: &E, attachment: &Attachment, reader: &mut Reader) -> bool {
    let mut stdin = tokio::select! {
        biased;
        stdin = attachment.stdin(engine) => stdin,
        () = reader.gone() => return false,
    };
    let watch = attachment.keys.as_ref().filter(|_| stdin.is_some()).map(Watch::new);
    reader.forward(&mut stdin, attachment.closes_stdin(), watch).await
}
