//! A client attached to a container's first process (Docker Engine API, "Attach to a container"): what it writes goes
//! out as it comes, until it ends; what the client sends is its standard input.
//!
//! What goes out is read from the log, so a client that takes its time holds nobody up and nothing in memory.

mod output;
mod plain;
pub(crate) mod websocket;

use std::rc::Rc;

use crate::container::Container;
use crate::detach::DetachKeys;
use crate::encoding::Encoding;
use crate::engine::Engine;
use crate::exec::registry::Streams;
use crate::log::Run;

pub(crate) use plain::run;

/// What a client attaches to, and how.
pub(crate) struct Attachment {
    pub(crate) container: Rc<Container>,
    pub(crate) streams: Streams,
    /// Whether what was written before comes first.
    pub(crate) logs: bool,
    /// In place of the run that goes on or comes next: one from its beginning.
    pub(crate) run: Option<Run>,
    /// Whether what will be written follows.
    pub(crate) stream: bool,
    pub(crate) encoding: Encoding,
    /// What leaves a terminal.
    pub(crate) keys: Option<DetachKeys>,
}

impl Attachment {
    /// The container's standard input, once its process runs; `None` where it is not wanted or not there.
    async fn stdin<E: Engine>(&self, engine: &E) -> Option<E::Input> {
        if !(self.streams.stdin && self.stream && self.container.spec.process.stdin) {
            return None;
        }
        let mut state = self.container.state.subscribe();
        // The container outlives its clients.
        let _running = state.wait_for(|state| state.is_running() || state.removed).await;
        engine.stdin(&self.container).ok()
    }

    /// Whether the end of the client's bytes is the end of the container's input. A terminal has no such end.
    fn closes_stdin(&self) -> bool {
        let process = &self.container.spec.process;
        process.stdin_once && !process.tty
    }
}
