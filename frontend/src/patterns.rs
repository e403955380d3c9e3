//! The regular expressions of the filters `name` and `id`. They take time and memory in proportion to what a client sends.

use regex_lite::{Regex, RegexBuilder};
use vdocker::EngineError;
use vdocker::filters::Filters;

/// Bytes of one that is compiled.
const MAX_BYTES: usize = 64 << 10;

/// Bytes of all of one key that are compiled.
const MAX_TOTAL: usize = 1 << 20;

/// The most that are compiled of one key: names and ids as they are need not be.
const MAX_COMPILED: usize = 128;

/// The most groups of one: what a search takes grows with their number times the expression's size.
const MAX_GROUPS: usize = 32;

/// What one key of the filters asks for.
pub(crate) struct Patterns(Vec<Pattern>);

enum Pattern {
    /// Stands for itself, anywhere in a text.
    Plain(String),
    /// Docker looks for the very text first, and passes over what is no regular expression.
    Expression(String, Option<Regex>),
}

impl Pattern {
    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => text.contains(plain.as_str()),
            Self::Expression(whole, regex) => {
                text == whole || regex.as_ref().is_some_and(|regex| regex.is_match(text))
            }
        }
    }
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The regular expression, where it is one; `Err`: it is too large.
fn compile(value: &str, limit: usize) -> Result<Option<Regex>, ()> {
    if value.matches('(').count() > MAX_GROUPS {
        return Err(());
    }
    match RegexBuilder::new(value).size_limit(limit).build() {
        Ok(regex) => Ok(Some(regex)),
        Err(error) if error.to_string().contains("size limit") => Err(()),
        Err(_) => Ok(None),
    }
}

impl Patterns {
    /// Those of a key.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for too large a regular expression, or too many.
    pub(crate) fn read(filters: &Filters, key: &str) -> Result<Self, EngineError> {
        let compiled = filters.values(key).filter(|value| !is_plain(value)).count();
        if compiled > MAX_COMPILED {
            return Err(EngineError::BadRequest(format!(
                "invalid filter '{key}': too many regular expressions"
            )));
        }
        let limit = MAX_BYTES.min(MAX_TOTAL / compiled.max(1));
        let pattern = |value: &str| {
            if is_plain(value) {
                return Ok(Pattern::Plain(value.to_owned()));
            }
            let regex = compile(value, limit).map_err(|()| {
                EngineError::BadRequest(format!("invalid filter '{key}={value}': too large"))
            })?;
            Ok(Pattern::Expression(value.to_owned(), regex))
        };
        filters.values(key).map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is asked for, or one of them is found in one of the texts.
    pub(crate) fn pass(&self, texts: &[&str]) -> bool {
        self.0.is_empty() || texts.iter().any(|text| self.0.iter().any(|pattern| pattern.is_in(text)))
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
    fn what_is_no_expression_is_itself_alone() {
        for value in ["[", "(", "*", "web("] {
            let patterns = patterns(&[value, "db"]).unwrap();
            assert!(patterns.pass(&[value]) && patterns.pass(&["db"]), "{value}");
            assert!(!patterns.pass(&["web", &format!("{value}x")]), "{value}");
        }
        assert!(patterns(&["a+b"]).unwrap().pass(&["a+b"]), "the text itself comes first");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let groups = "()".repeat(MAX_GROUPS + 1);
        for value in ["a{1000}{1000}", r"(\w{100}){100}", "[a-z]{9999}", &groups] {
            assert!(matches!(patterns(&[value]), Err(EngineError::BadRequest(_))), "{value}");
        }
        assert!(patterns(&[&"()".repeat(MAX_GROUPS)]).is_ok());
    }

    #[test]
    fn many_share_what_one_has() {
        let read = |number, text: &str| {
            let values: Vec<_> = (0..number).map(|number| format!("{text}{number}")).collect();
            patterns(&values.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert!(read(MAX_COMPILED, "^/?web-").is_ok() && read(MAX_COMPILED + 1, "^/?web-").is_err());
        let large = "^a{1000}";
        assert!(read(1, large).is_ok() && read(MAX_COMPILED, large).is_err());
        assert!(
            read(1000, "web").unwrap().pass(&["a-web999"]),
            "plain ones are as many as the filters may have"
        );
    }
}
