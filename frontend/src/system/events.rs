//! `GET /events`: what has happened since a time, and what happens until a time.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::broadcast::error::RecvError;
use vdocker::EngineError;
use vdocker::body::{Body, Sink};
use vdocker::events::{FILTERS, untagged};
use vdocker::filters::Filters;
use vdocker::period::Period;
use vdocker::query::Query;
use vdocker::response::{self, Response};

use crate::context::Context;
use crate::events::Event;

/// Filters that name an object of their kind by id or name.
const KINDS: [&str; 9] =
    ["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"];

/// What a client wants to hear of.
struct Interest {
    filters: Filters,
    period: Period,
}

/// `GET /events`.
pub(super) async fn events(mut context: Context) -> Result<Response, EngineError> {
    let interest = Interest::read(&context.query)?;
    let (kept, mut next) = context.daemon.events.subscribe();
    context.follow().await?;
    let open = Rc::clone(&context.daemon.open);
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
                biased;
                event = next.recv() => event,
                () = &mut over => return Ok(()),
                () = open.closing() => return Ok(()),
            };
            match event {
                Ok(event) if interest.ends_with(&event, SystemTime::now()) => return Ok(()),
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
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    sink.send(Bytes::from(line)).await;
    Ok(())
}

impl Interest {
    fn read(query: &Query) -> Result<Self, EngineError> {
        Ok(Self { filters: Filters::from_query(query, &FILTERS)?, period: Period::read(query)? })
    }

    /// Whether an event tells that the period is over: one of a guest whose clock is ahead does not.
    fn ends_with(&self, event: &Event, now: SystemTime) -> bool {
        self.period.is_before(when(event)) && when(event) <= now
    }

    fn has(&self, event: &Event) -> bool {
        let filters = &self.filters;
        let (id, attributes) = (&event.actor.id, &event.actor.attributes);
        let name = attributes.get("name").map_or("", String::as_str);
        let kind = event.action.split(':').next().unwrap_or_default();
        let image = match event.kind.as_str() {
            "image" => id.as_str(),
            _ => attributes.get("image").map_or("", String::as_str),
        };
        let is_named = |wanted: &str| id.starts_with(wanted) || name.starts_with(wanted);
        self.period.has(when(event))
            && filters.exact("type", &event.kind)
            && filters.exact("scope", &event.scope)
            && filters.any("event", |wanted| wanted == event.action || wanted == kind)
            && filters.any("image", |wanted| {
                [image, untagged(image), name, untagged(name)].contains(&wanted) && !wanted.is_empty()
            })
            && filters.labels("label", attributes)
            && KINDS
                .iter()
                .all(|kind| !filters.has(kind) || (*kind == event.kind && filters.any(kind, is_named)))
    }
}

fn when(event: &Event) -> SystemTime {
    let nanos = u64::try_from(event.time_nano).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn has(query: &str, event: &Event) -> bool {
        Interest::read(&Query::parse(query).unwrap()).unwrap().has(event)
    }

    fn event() -> Event {
        let attributes = [("image", "busybox:1"), ("name", "web"), ("team", "a")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        Event::at(when, "container", "health_status: healthy", &"ab".repeat(32), BTreeMap::from(attributes))
    }

    #[test]
    fn filters_narrow() {
        for (query, passes) in [
            ("", true),
            (r#"filters={"type":["container"]}"#, true),
            (r#"filters={"type":["image"]}"#, false),
            (r#"filters={"event":["health_status"]}"#, true),
            (r#"filters={"event":["health_status: healthy"]}"#, true),
            (r#"filters={"event":["die"]}"#, false),
            (r#"filters={"container":["abab"]}"#, true),
            (r#"filters={"container":["web"]}"#, true),
            (r#"filters={"container":["we"]}"#, true),
            (r#"filters={"container":["eb"]}"#, false),
            (r#"filters={"volume":["web"]}"#, false),
            (r#"filters={"image":["busybox"]}"#, true),
            (r#"filters={"image":["busybox:1"]}"#, true),
            (r#"filters={"image":["busybox:2"]}"#, false),
            (r#"filters={"label":["team=a"]}"#, true),
            (r#"filters={"label":["team=b"]}"#, false),
            ("since=100", true),
            ("since=101", false),
            ("until=100", true),
            ("until=99", false),
        ] {
            assert_eq!(has(query, &event()), passes, "{query}");
        }
    }

    #[test]
    fn an_event_of_the_future_ends_nothing() {
        let ends = |query: &str, now| {
            let interest = Interest::read(&Query::parse(query).unwrap()).unwrap();
            interest.ends_with(&event(), SystemTime::UNIX_EPOCH + Duration::from_secs(now))
        };
        assert!(ends("until=99", 100) && ends("until=99", 101));
        assert!(!ends("until=99", 98) && !ends("until=100", 101) && !ends("", 101));
    }

    #[test]
    fn a_time_before_the_other_is_refused() {
        assert!(Interest::read(&Query::parse("since=3&until=2").unwrap()).is_err());
        assert!(Interest::read(&Query::parse("since=yesterday").unwrap()).is_err());
        assert!(Interest::read(&Query::parse(r#"filters={"colour":["red"]}"#).unwrap()).is_err());
    }
}
