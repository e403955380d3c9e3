//! The time that a client asks events of: `since` and `until` of a query (Docker Engine API, "Monitor events").

use std::time::SystemTime;

use crate::engine::EngineError;
use crate::query::Query;
use crate::time;

/// From a time to a time; `None`: from now, and without an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment. The beginning of 1970 is from the first event that is kept.
    pub since: Option<SystemTime>,
    /// The last moment.
    pub until: Option<SystemTime>,
}

impl Period {
    /// Reads `since` and `until`: seconds since 1970, with a fraction or not, or a date.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for other texts, and for an end before the beginning.
    pub fn read(query: &Query) -> Result<Self, EngineError> {
        let time = |name: &str| match query.text(name) {
            None => Ok(None),
            // Since the beginning, but not until then.
            Some("0") if name == "until" => Ok(None),
            Some(text) => {
                let broken = || EngineError::BadRequest(format!("invalid value {text:?} for {name}"));
                time::parse(text).map(Some).ok_or_else(broken)
            }
        };
        let period = Self { since: time("since")?, until: time("until")? };
        if period.since.zip(period.until).is_some_and(|(since, until)| since > until) {
            return Err(EngineError::BadRequest("`since` time cannot be after `until` time".into()));
        }
        Ok(period)
    }

    /// Whether events that have happened are asked for too.
    #[must_use]
    pub fn asks_for_kept(&self) -> bool {
        self.since.is_some() || self.until.is_some_and(|until| until <= SystemTime::now())
    }

    /// Whether a time is in it.
    #[must_use]
    pub fn has(&self, time: SystemTime) -> bool {
        self.since.is_none_or(|since| time >= since) && !self.is_before(time)
    }

    /// Whether it ends before a time.
    #[must_use]
    pub fn is_before(&self, time: SystemTime) -> bool {
        self.until.is_some_and(|until| time > until)
    }

    /// Returns when it is over.
    pub async fn over(&self) {
        match self.until {
            Some(until) => {
                tokio::time::sleep(until.duration_since(SystemTime::now()).unwrap_or_default()).await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(query: &str) -> Result<Period, EngineError> {
        Period::read(&Query::parse(query).unwrap())
    }

    #[test]
    fn both_ends_count() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let period = read("since=10&until=20").unwrap();
        assert!(period.has(at(10)) && period.has(at(20)) && !period.has(at(9)) && !period.has(at(21)));
        assert!(period.is_before(at(21)) && !period.is_before(at(20)) && period.asks_for_kept());
        assert_eq!(read("since=0&until=0").unwrap(), Period { since: Some(at(0)), until: None });
        assert!(!read("").unwrap().asks_for_kept() && read("until=20").unwrap().asks_for_kept());
    }

    #[test]
    fn refuses_what_is_no_period() {
        for query in ["since=20&until=10", "since=yesterday", "until=-"] {
            assert!(matches!(read(query), Err(EngineError::BadRequest(_))), "{query}");
        }
    }
}
