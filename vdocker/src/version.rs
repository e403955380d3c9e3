//! Versions of the Docker Engine API: the range that is served, and what differs within it.

/// The newest version that is served, and what unversioned paths get.
pub const NEWEST: &str = "1.50";

/// The oldest version that is served.
pub const OLDEST: &str = "1.24";

/// The version of Docker whose manners these are.
pub const DOCKER: &str = "28.2.2";

/// A version that is not served, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Before [`OLDEST`].
    #[error(
        "client version {0} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a \
         newer version"
    )]
    TooOld(String),
    /// After [`NEWEST`].
    #[error("client version {0} is too new. Maximum supported API version is {NEWEST}")]
    TooNew(String),
}

/// The version that a request speaks: the digits after `1.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u32);

impl Default for ApiVersion {
    fn default() -> Self {
        Self(50)
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "1.{}", self.0)
    }
}

impl ApiVersion {
    /// Reads the digits and points after the `/v` of a path.
    ///
    /// # Errors
    /// [`VersionError`] for a version out of range.
    pub fn negotiate(text: &str) -> Result<Self, VersionError> {
        let mut numbers =
            text.split('.').map(|part| part.parse().unwrap_or(if part.is_empty() { 0 } else { u32::MAX }));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let rest = numbers.any(|number| number > 0);
        if (major, minor) < (1, 24) {
            return Err(VersionError::TooOld(text.to_owned()));
        }
        if (major, minor, rest) > (1, 50, false) {
            return Err(VersionError::TooNew(text.to_owned()));
        }
        Ok(Self(minor))
    }

    /// Whether the client speaks version 1.`minor` or a newer one.
    #[must_use]
    pub const fn at_least(self, minor: u32) -> bool {
        self.0 >= minor
    }
}

/// Takes the version off a path: `/v1.43/info` is `1.43` and `/info`.
#[must_use]
pub fn split(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else { return (None, path) };
    let end = rest.find('/').unwrap_or(rest.len());
    let (version, rest) = rest.split_at(end);
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_version { (Some(version), rest) } else { (None, path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        ApiVersion::negotiate(text).unwrap_err().to_string()
    }

    #[test]
    fn serves_the_range() {
        for minor in 24..=50 {
            let version = ApiVersion::negotiate(&format!("1.{minor}")).unwrap();
            assert!(version.at_least(minor) && !version.at_least(minor + 1));
        }
        assert!(ApiVersion::default().at_least(50));
    }

    #[test]
    fn refuses_the_rest_in_dockers_words() {
        assert_eq!(
            message("1.23"),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version"
        );
        assert_eq!(message("1.51"), "client version 1.51 is too new. Maximum supported API version is 1.50");
        for old in ["1", "0.99", "1.", "..", "1.9"] {
            assert!(message(old).contains("too old"), "{old}");
        }
        for new in ["2", "1.50.1", "1.500", "1.99999999999999999999", "99999999999999.1"] {
            assert!(message(new).contains("too new"), "{new}");
        }
    }

    #[test]
    fn splits_versions_only() {
        assert_eq!(split("/v1.43/info"), (Some("1.43"), "/info"));
        assert_eq!(split("/v1.43"), (Some("1.43"), ""));
        for path in ["/version", "/v/info", "/volumes", "/info", "/vx1/info", ""] {
            assert_eq!(split(path), (None, path));
        }
    }
}
