//! The regular expressions of the filters `name` and `id`. They take time and memory in proportion to what a client sends.

use regex_lite::{Regex, RegexBuilder};
use vdocker::EngineError;
use vdocker::filters::Filters;

/// Bytes of one that is compiled.
const MAX_BYTES: usize = 256 << 10;

/// What one key of the filters asks for.
pub(crate) struct Patterns(Vec<Regex>);

impl Patterns {
    /// Those of a key.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for what is no regular expression, or too large a one.
    pub(crate) fn read(filters: &Filters, key: &str) -> Result<Self, EngineError> {
        let compiled = filters.values(key).map(|value| {
            RegexBuilder::new(value)
                .size_limit(MAX_BYTES)
                .build()
                .map_err(|_| EngineError::BadRequest(format!("invalid filter '{key}={value}'")))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is asked for, or one of them is found in one of the texts.
    pub(crate) fn pass(&self, texts: &[&str]) -> bool {
        self.0.is_empty() || texts.iter().any(|text| self.0.iter().any(|pattern| pattern.is_match(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(values: &[&str]) -> Result<Patterns, EngineError> {
        let json = serde_json::json!({ "name": values }).to_string();
        Patterns::read(&Filters::parse(&json, &["name"]).unwrap(), "name")
    }

    #[test]
    fn they_are_dockers() {
        let passes = |value: &str, text: &str| patterns(&[value]).unwrap().pass(&[text, &format!("/{text}")]);
        for value in ["we", "^web$", "^/web$", "^w[a-f]b$", "db|web", "w.b", "(?i)WEB", r"\w{3}", ""] {
            assert!(passes(value, "web"), "{value}");
        }
        for value in ["^eb", "db", "w[0-9]", "webb"] {
            assert!(!passes(value, "web"), "{value}");
        }
        assert!(patterns(&["db", "web"]).unwrap().pass(&["web"]));
        assert!(patterns(&[]).unwrap().pass(&["web"]));
    }

    #[test]
    fn what_is_none_or_too_large_is_refused() {
        for value in ["[", "(", "*", "a{1000}{1000}", r"(\w{100}){100}"] {
            assert!(matches!(patterns(&[value]), Err(EngineError::BadRequest(_))), "{value}");
        }
    }
}
