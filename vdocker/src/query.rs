//! The query of a request: percent-decoded pairs, read the way Docker reads them.

use crate::engine::EngineError;

/// The most pairs in one query.
const MAX_PAIRS: usize = 256;

/// The decoded query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes what stands after the `?`.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a broken percent-encoding, text that is no UTF-8, and too many pairs.
    pub fn parse(raw: &str) -> Result<Self, EngineError> {
        let pairs: Vec<_> = raw.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.len() > MAX_PAIRS {
            return Err(EngineError::BadRequest(format!("more than {MAX_PAIRS} query parameters")));
        }
        let decode_pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        };
        let broken = |pair: &str| EngineError::BadRequest(format!("invalid URL encoding in {pair:?}"));
        pairs
            .into_iter()
            .map(|pair| decode_pair(pair).ok_or_else(|| broken(pair)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of that name, in order.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of that name, where it is not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Docker's truth: anything but nothing, `0`, `no`, `false` and `none`, in any case.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// [`Query::flag`] with a value for its absence.
    #[must_use]
    pub fn flag_or(&self, name: &str, absent: bool) -> bool {
        let Some(value) = self.get(name) else { return absent };
        !["", "0", "no", "false", "none"].contains(&value.trim().to_ascii_lowercase().as_str())
    }

    /// A whole number, which may be negative; `None` where it is absent or empty.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for anything else.
    pub fn number(&self, name: &str) -> Result<Option<i64>, EngineError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text
            .parse()
            .map_err(|_| EngineError::BadRequest(format!("invalid value {text:?} for {name}")))?;
        Ok(Some(number))
    }
}

/// Decodes `%XX`, and `+` as a space where `plus` says so (queries, not paths). `None` for a broken encoding, and for
/// bytes that are no UTF-8 or hold a NUL.
#[must_use]
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_names_and_values() {
        let query = Query::parse("path=%2Ftmp%2Fa+b&x=1&x=2&empty=&bare&&caf%C3%A9=%25").unwrap();
        assert_eq!(query.get("path"), Some("/tmp/a b"));
        assert_eq!(query.all("x").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((query.get("empty"), query.text("empty"), query.get("bare")), (Some(""), None, Some("")));
        assert_eq!((query.get("café"), query.get("absent")), (Some("%"), None));
    }

    #[test]
    fn docker_says_what_is_true() {
        let query = Query::parse("a=1&b=true&c=TRUE&d=yes&e=2&f=0&g=False&h=NO&i=none&j=&k").unwrap();
        assert!(["a", "b", "c", "d", "e"].into_iter().all(|name| query.flag(name)));
        assert!(!["f", "g", "h", "i", "j", "k", "absent"].into_iter().any(|name| query.flag(name)));
        assert!(query.flag_or("absent", true) && !query.flag_or("f", true));
    }

    #[test]
    fn numbers_are_whole() {
        let query = Query::parse("a=-1&b=&c=9999999999999999999&d=1.5&e=+1").unwrap();
        assert_eq!((query.number("a").unwrap(), query.number("b").unwrap()), (Some(-1), None));
        for name in ["c", "d", "e"] {
            assert!(query.number(name).is_err(), "{name}");
        }
    }

    #[test]
    fn refuses_broken_encodings_and_floods() {
        for raw in ["a=%", "a=%2", "a=%zz", "%=1", "a=%ff", "a=%00", "a=%C3"] {
            assert!(matches!(Query::parse(raw), Err(EngineError::BadRequest(_))), "{raw}");
        }
        assert!(Query::parse(&"a&".repeat(MAX_PAIRS)).is_ok());
        assert!(Query::parse(&"a&".repeat(MAX_PAIRS + 1)).is_err());
    }
}
