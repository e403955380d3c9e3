//! Attach over a connection as it is.

use std::rc::Rc;

use tokio::sync::mpsc;

use super::{Attachment, output};
use crate::engine::Engine;
use crate::hijack::Hijacked;
use crate::server::Api;

/// Serves an attached client until the container's run is over or the client is gone.
pub(crate) async fn run<E: Engine>(api: Rc<Api<E>>, attachment: Attachment, stream: Hijacked) {
    let (mut reader, mut writer) = stream.split();
    // Nobody sends: the client's bytes are nothing but input.
    let (_replier, mut replies) = mpsc::channel(1);
    let is_served = tokio::select! {
        biased;
        end = output::copy_out(&attachment, &api.closing, &mut writer, &mut replies) => end.is_ok(),
        () = async {
            let mut stdin = attachment.stdin(&*api.engine).await;
            reader.forward(&mut stdin, attachment.closes_stdin()).await;
        } => false,
    };
    if is_served {
        writer.finish(reader).await;
    }
}
