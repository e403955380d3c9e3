//! `POST /containers/{id}/wait`: the head goes out at once, since clients start the container only then; the body comes
//! when the condition is met.

use std::io;

use bytes::Bytes;
use hyper::StatusCode;
use vdocker::EngineError;
use vdocker::api::wait::WaitResult;
use vdocker::body::Body;
use vdocker::response::{self, Response};

use super::Life;
use crate::context::Context;

/// The API version from which a client can say what it waits for.
const WITH_CONDITION: u32 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    NotRunning,
    /// With how often it had ended before.
    NextExit(u64),
    Removed,
}

/// `POST /containers/{id}/wait`.
pub(super) async fn wait(mut context: Context) -> Result<Response, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    let mut changes = container.life.subscribe();
    let asked = context.query.text("condition").filter(|_| context.version.at_least(WITH_CONDITION));
    let condition = Condition::parse(asked.unwrap_or_default(), &changes.borrow())?;
    context.follow().await?;
    let daemon = context.daemon;
    let body = Body::stream(async move |sink| {
        let result = tokio::select! {
            biased;
            life = changes.wait_for(|life| condition.is_met(life)) => match life {
                Ok(life) => WaitResult::new(life.state.exit_code, &life.state.error),
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            },
            // The client is to see that it was not told.
            () = daemon.open.closing() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let mut line = serde_json::to_vec(&result)?;
        line.push(b'\n');
        sink.send(Bytes::from(line)).await;
        Ok(())
    });
    Ok(response::typed(StatusCode::OK, "application/json", body))
}

impl Condition {
    fn parse(text: &str, life: &Life) -> Result<Self, EngineError> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit(life.exits)),
            "removed" => Ok(Self::Removed),
            other => Err(EngineError::BadRequest(format!("invalid condition: {other:?}"))),
        }
    }

    fn is_met(self, life: &Life) -> bool {
        life.removed
            || match self {
                Self::NotRunning => !life.is_running(),
                Self::NextExit(before) => life.exits != before,
                Self::Removed => false,
            }
    }
}
