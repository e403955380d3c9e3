//! Paths and queries of requests, with what is not plain text escaped (RFC 3986, section 2).

use std::fmt::Write as _;

/// A path with a query being made.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    text: String,
    mark: char,
}

impl Query {
    /// A path of the API about a container, as in `container("web", "logs")`.
    pub(crate) fn container(name: &str, what: &str) -> Self {
        Self::of(format!("/containers/{}/{what}", escape(name.as_bytes())))
    }

    /// A path, taken as it is.
    pub(crate) fn of(path: String) -> Self {
        Self { text: path, mark: '?' }
    }

    /// Adds a value.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let _ = write!(self.text, "{}{name}={}", self.mark, escape(value.as_ref()));
        self.mark = '&';
        self
    }

    /// Adds a value of 1 where something holds.
    pub(crate) fn flag(self, name: &str, holds: bool) -> Self {
        if holds { self.with(name, "1") } else { self }
    }

    /// The whole text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_escaped() {
        let query = Query::container("a/../b", "logs")
            .with("path", "/x y&z=ü")
            .flag("follow", true)
            .flag("no", false);
        assert_eq!(query.as_str(), "/containers/a%2F..%2Fb/logs?path=%2Fx%20y%26z%3D%C3%BC&follow=1");
        assert_eq!(Query::of("/info".to_owned()).as_str(), "/info");
    }
}
