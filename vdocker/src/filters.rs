//! The `filters` of lists and events: JSON in two forms, `{"label":{"x=y":true}}` and `{"label":["x=y"]}`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::engine::EngineError;
use crate::pattern::Pattern;
use crate::query::Query;

/// The longest JSON, in bytes.
const MAX_JSON: usize = 64 << 10;

/// The most values of all keys together.
const MAX_VALUES: usize = 1024;

/// What a list is narrowed by: values of one key widen each other, keys narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// The values of a key, in either form. Read by hand: what serde makes of two forms is 10 KiB of the guest.
struct Values(BTreeSet<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = Values;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of values to true, or a list of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = BTreeSet::new();
        // Docker looks at the names only, whatever they are mapped to.
        while let Some((value, _)) = map.next_entry::<String, bool>()? {
            values.insert(value);
        }
        Ok(Values(values))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = BTreeSet::new();
        while let Some(value) = list.next_element()? {
            values.insert(value);
        }
        Ok(Values(values))
    }
}

impl Filters {
    /// Reads the parameter `filters` of a query; only `known` keys may be there.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for JSON of another form or size and for unknown keys.
    pub fn from_query(query: &Query, known: &[&str]) -> Result<Self, EngineError> {
        query.text("filters").map_or_else(|| Ok(Self::default()), |json| Self::parse(json, known))
    }

    /// Reads the JSON.
    ///
    /// # Errors
    /// As [`Filters::from_query`].
    pub fn parse(json: &str, known: &[&str]) -> Result<Self, EngineError> {
        if json.len() > MAX_JSON {
            return Err(EngineError::BadRequest("invalid filters: too long".into()));
        }
        let parsed: BTreeMap<String, Values> = serde_json::from_slice(json.as_bytes())
            .map_err(|_| EngineError::BadRequest("invalid filters: not the JSON of filters".into()))?;
        let mut filters = BTreeMap::new();
        for (key, Values(wanted)) in parsed {
            if !known.contains(&key.as_str()) {
                return Err(EngineError::BadRequest(format!("invalid filter '{key}'")));
            }
            if !wanted.is_empty() {
                filters.insert(key, wanted);
            }
        }
        if filters.values().map(BTreeSet::len).sum::<usize>() > MAX_VALUES {
            return Err(EngineError::BadRequest("invalid filters: too many".into()));
        }
        Ok(Self(filters))
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether anything is asked of the key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether nothing is asked of the key, or one of its values passes.
    pub fn any(&self, key: &str, mut passes: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).any(&mut passes)
    }

    /// Whether nothing is asked of the key, or one of its values is this one.
    #[must_use]
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| wanted == value)
    }

    /// Whether labels have all that are asked for: `name` or `name=value` each.
    #[must_use]
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        })
    }

    /// The values of a key as patterns.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a pattern that is not understood.
    pub fn patterns(&self, key: &str) -> Result<Vec<Pattern>, EngineError> {
        let broken = |value| {
            EngineError::BadRequest(format!(
                "invalid filter '{key}={value}': not a pattern that is understood"
            ))
        };
        self.values(key).map(|value| Pattern::parse(value).ok_or_else(|| broken(value))).collect()
    }

    /// The values of a key as true or false; `None` where nothing is asked.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for other words, and for both at once.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, EngineError> {
        let mut values = self.values(key).map(|value| match value {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        });
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(Some(truth)), None) => Ok(Some(truth)),
            _ => Err(EngineError::BadRequest(format!("invalid filter '{key}'"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["label", "name", "id", "is-task"];

    fn parse(json: &str) -> Result<Filters, EngineError> {
        Filters::parse(json, &KNOWN)
    }

    #[test]
    fn both_forms_say_the_same() {
        let map = parse(r#"{"label":{"x=y":true,"z":true},"name":{}}"#).unwrap();
        assert_eq!(map, parse(r#"{"label":["z","x=y"]}"#).unwrap());
        assert_eq!(map.values("label").collect::<Vec<_>>(), ["x=y", "z"]);
        assert!(!map.has("name"));
    }

    #[test]
    fn labels_must_all_be_there() {
        let have = BTreeMap::from([("x".to_owned(), "y".to_owned()), ("z".to_owned(), String::new())]);
        for (json, passes) in [
            (r#"{"label":["x"]}"#, true),
            (r#"{"label":["x=y","z"]}"#, true),
            (r#"{"label":["x=y","z="]}"#, true),
            (r#"{"label":["x=n"]}"#, false),
            (r#"{"label":["x","absent"]}"#, false),
            ("{}", true),
        ] {
            assert_eq!(parse(json).unwrap().labels("label", &have), passes, "{json}");
        }
    }

    #[test]
    fn values_widen() {
        let filters = parse(r#"{"id":["a","b"]}"#).unwrap();
        assert!(filters.exact("id", "b") && !filters.exact("id", "c") && filters.exact("name", "c"));
    }

    #[test]
    fn truth_is_one_word() {
        assert_eq!(parse("{}").unwrap().truth("is-task").unwrap(), None);
        assert_eq!(parse(r#"{"is-task":["false"]}"#).unwrap().truth("is-task").unwrap(), Some(false));
        assert!(parse(r#"{"is-task":["true","0"]}"#).unwrap().truth("is-task").is_err());
        assert!(parse(r#"{"is-task":["maybe"]}"#).unwrap().truth("is-task").is_err());
    }

    #[test]
    fn refuses_what_is_no_filter() {
        assert_eq!(
            parse(r#"{"x":["a"]}"#).unwrap_err(),
            EngineError::BadRequest("invalid filter 'x'".into())
        );
        for json in ["", "[]", "1", "{", r#"{"label":"x"}"#, r#"{"label":[1]}"#, r#"{"label":{"x":{}}}"#] {
            assert!(matches!(parse(json), Err(EngineError::BadRequest(_))), "{json}");
        }
        let many: Vec<_> = (0..=MAX_VALUES).map(|n| n.to_string()).collect();
        assert!(parse(&serde_json::json!({ "label": many }).to_string()).is_err());
        assert!(parse(&" ".repeat(MAX_JSON + 1)).is_err());
        assert!(parse(&("{\"label\":".to_owned() + &"[".repeat(60_000))).is_err());
    }
}
