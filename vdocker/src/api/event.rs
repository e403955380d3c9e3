//! A line of `GET /events`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::events::Event;
use crate::time;

/// An event; the first three fields are those of API versions before 1.22, which clients still read.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct EventMessage<'e> {
    pub status: &'e str,
    pub id: &'e str,
    pub from: &'e str,
    #[serde(rename = "Type")]
    pub kind: &'static str,
    #[serde(rename = "Action")]
    pub action: &'e str,
    #[serde(rename = "Actor")]
    pub actor: Actor<'e>,
    pub scope: &'static str,
    pub time: i64,
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event is about.
#[derive(Debug, Serialize)]
pub struct Actor<'e> {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: &'e str,
    /// What else is known of it.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<&'e str, &'e str>,
}

impl<'e> EventMessage<'e> {
    /// Puts an event into Docker's form.
    #[must_use]
    pub fn new(event: &'e Event) -> Self {
        let mut attributes = BTreeMap::new();
        attributes.extend(event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Self {
            status: &event.action,
            id: &event.id,
            from: event.attribute("image").unwrap_or_default(),
            kind: "container",
            action: &event.action,
            actor: Actor { id: &event.id, attributes },
            scope: "local",
            time: time::unix(event.time),
            time_nano: time::unix_nanos(event.time),
        }
    }
}
