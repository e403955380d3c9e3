//! `POST /containers/{id}/wait`: the head goes out at once, since clients start the container only then; the body
//! comes when the condition is met.

use std::rc::Rc;

use bytes::Bytes;
use hyper::StatusCode;

use crate::api::wait::WaitResult;
use crate::body::Body;
use crate::container::{Container, ContainerState, Status};
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::response::{self, Response};

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
pub(super) async fn wait<E: Engine>(
    mut context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let mut changes = container.state.subscribe();
    let asked = context.query.text("condition").filter(|_| context.version.at_least(WITH_CONDITION));
    let condition = Condition::parse(asked.unwrap_or_default(), &changes.borrow())?;
    context.follow().await?;
    let api = Rc::clone(&context.api);
    let body = Body::stream(async move |sink| {
        tokio::select! {
            biased;
            _met = changes.wait_for(|state| condition.is_met(state)) => {}
            () = api.open.closing() => {}
        }
        let result = {
            let state = container.state.borrow();
            WaitResult::new(state.exit_code.into(), &state.error)
        };
        let mut line = serde_json::to_vec(&result)?;
        line.push(b'\n');
        sink.send(Bytes::from(line)).await;
        Ok(())
    });
    Ok(response::typed(StatusCode::OK, "application/json", body))
}

impl Condition {
    fn parse(text: &str, state: &ContainerState) -> Result<Self, EngineError> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit(state.exits)),
            "removed" => Ok(Self::Removed),
            other => Err(EngineError::BadRequest(format!("invalid condition: {other:?}"))),
        }
    }

    fn is_met(self, state: &ContainerState) -> bool {
        state.removed
            || match self {
                Self::NotRunning => !state.is_running() && state.status != Status::Restarting,
                Self::NextExit(before) => state.exits != before,
                Self::Removed => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_met_when_docker_says_so() {
        let mut state = ContainerState { exits: 3, status: Status::Restarting, ..ContainerState::default() };
        let parse =
            |text| Condition::parse(text, &ContainerState { exits: 3, ..ContainerState::default() }).unwrap();
        let met = |state: &ContainerState| ["", "next-exit", "removed"].map(|text| parse(text).is_met(state));
        assert_eq!(met(&state), [false, false, false]);
        (state.status, state.exits) = (Status::Exited, 4);
        assert_eq!(met(&state), [true, true, false]);
        state.status = Status::Paused;
        assert_eq!(met(&state), [false, true, false]);
        (state.removed, state.exits) = (true, 3);
        assert_eq!(met(&state), [true, true, true]);
        assert!(Condition::parse("never", &state).is_err());
    }
}
