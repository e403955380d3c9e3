//! `GET /events`: what has happened since a time, and what happens until a time.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::broadcast::error::RecvError;

use crate::api::event::EventMessage;
use crate::body::{Body, Sink};
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::events::{Event, FILTERS, untagged};
use crate::filters::Filters;
use crate::period::Period;
use crate::query::Query;
use crate::response::{self, Response};

/// Kinds of objects that a pod has no events of: who asks for one gets none.
const FOREIGN: [&str; 8] = ["config", "daemon", "network", "node", "plugin", "secret", "service", "volume"];

/// What a client wants to hear of.
struct Interest {
    filters: Filters,
    period: Period,
}

/// `GET /events`.
pub(super) async fn events<E: Engine>(mut context: Context<E>) -> Result<Response, EngineError> {
    let interest = Interest::read(&context.query)?;
    let (kept, mut next) = context.engine.events().subscribe();
    context.follow().await?;
    let api = Rc::clone(&context.api);
    let body = Body::stream(async move |sink| {
        if interest.period.asks_for_kept() {
            for event in kept.iter().filter(|event| interest.has(event)) {
                send(&sink, event).await?;
            }
        }
        drop(kept);
        let mut over = std::pin::pin!(interest.period.over());
        loop {
            let event = tokio::select! {
                // First what has happened: a pod that ends tells of its containers' ends.
                biased;
                event = next.recv() => event,
                () = &mut over => return Ok(()),
                () = api.open.closing() => return Ok(()),
            };
            match event {
                Ok(event) if interest.period.is_before(event.time) => return Ok(()),
                Ok(event) if interest.has(&event) => send(&sink, &event).await?,
                // Who does not listen misses something, and nobody waits for him.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    });
    Ok(response::typed(StatusCode::OK, "application/json", body))
}

async fn send(sink: &Sink, event: &Event) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(&EventMessage::new(event))?;
    line.push(b'\n');
    sink.send(Bytes::from(line)).await;
    Ok(())
}

impl Interest {
    fn read(query: &Query) -> Result<Self, EngineError> {
        Ok(Self { filters: Filters::from_query(query, &FILTERS)?, period: Period::read(query)? })
    }

    fn has(&self, event: &Event) -> bool {
        let (filters, name) = (&self.filters, event.attribute("name").unwrap_or_default());
        let image = event.attribute("image").unwrap_or_default();
        let kind = event.action.split(':').next().unwrap_or_default();
        let mut labels = BTreeMap::new();
        labels.extend(event.attributes.iter().cloned());
        self.period.has(event.time)
            && filters.exact("type", "container")
            && filters.exact("scope", "local")
            && filters.any("event", |wanted| wanted == event.action || wanted == kind)
            && filters.any("container", |wanted| event.id.starts_with(wanted) || name.starts_with(wanted))
            && filters.any("image", |wanted| image == wanted || untagged(image) == wanted)
            && filters.labels("label", &labels)
            && !FOREIGN.iter().any(|kind| filters.has(kind))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn interest(query: &str) -> Result<Interest, EngineError> {
        Interest::read(&Query::parse(query).unwrap())
    }

    fn has(filters: &str) -> bool {
        let attributes = [("image", "host:5000/a/b:1"), ("name", "web"), ("x", "y")];
        let event = Event {
            action: "health_status: healthy".into(),
            id: "ab12".into(),
            attributes: attributes.map(|(name, value)| (name.into(), value.into())).into(),
            time: SystemTime::UNIX_EPOCH,
        };
        interest(&format!("filters={filters}")).unwrap().has(&event)
    }

    #[test]
    fn filters_narrow() {
        for (filters, passes) in [
            ("{}", true),
            (r#"{"type":["container"],"event":["health_status"]}"#, true),
            (r#"{"event":["health_status:%20healthy"]}"#, true),
            (r#"{"event":["start"]}"#, false),
            (r#"{"container":["ab"]}"#, true),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["other"]}"#, false),
            (r#"{"image":["host:5000/a/b"]}"#, true),
            (r#"{"image":["host:5000/a/b:1"]}"#, true),
            (r#"{"image":["host"]}"#, false),
            (r#"{"label":["x=y"]}"#, true),
            (r#"{"label":["x=z"]}"#, false),
            (r#"{"type":["network"]}"#, false),
            (r#"{"network":["n"]}"#, false),
        ] {
            assert_eq!(has(filters), passes, "{filters}");
        }
    }

    #[test]
    fn times_are_checked() {
        assert!(interest("since=1&until=2").is_ok());
        for query in ["since=x", "until=1.y", "since=2&until=1", "filters={\"colour\":[\"red\"]}"] {
            assert!(matches!(interest(query), Err(EngineError::BadRequest(_))), "{query}");
        }
    }
}
