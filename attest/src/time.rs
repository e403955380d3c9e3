//! Times as text, in UTC as RFC 3339 writes them.

use std::str::FromStr as _;
use std::time::Duration;

use der::DateTime;

/// The text of seconds since 1970.
#[must_use]
pub fn text(seconds: u64) -> String {
    match DateTime::from_unix_duration(Duration::from_secs(seconds)) {
        Ok(time) => time.to_string(),
        Err(_) => format!("@{seconds}"),
    }
}

/// Seconds since 1970 of a text such as `2026-11-22T10:00:00Z`, or `@1795341600`.
///
/// # Errors
/// What is no time of either form.
pub fn parse(text: &str) -> Result<u64, String> {
    let seconds = match text.strip_prefix('@') {
        Some(seconds) => seconds.parse().ok(),
        None => DateTime::from_str(text).ok().map(|time| time.unix_duration().as_secs()),
    };
    seconds.ok_or_else(|| "no time such as 2026-11-22T10:00:00Z or @1795341600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_seconds() {
        assert_eq!(parse("2026-11-22T10:00:00Z"), Ok(1_795_341_600));
        assert_eq!(text(1_795_341_600), "2026-11-22T10:00:00Z");
        assert_eq!(parse("@1795341600"), Ok(1_795_341_600));
        assert_eq!(text(u64::MAX), "@18446744073709551615");
        for wrong in
            ["", "@", "@-1", "now", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T10:00:00+01:00"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
