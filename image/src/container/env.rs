//! Environment variables: Docker's defaults, the image's, and the changes of `-e` and `--env-file`.

use spec::launch::EnvSpec;

/// The PATH of a container whose image sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One change to the image's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvChange {
    /// Sets a variable.
    Set(EnvSpec),
    /// Takes a variable away.
    Unset(String),
}

/// Why a text is no environment variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A variable without a name, or one that the kernel cannot have.
    #[error("invalid environment variable: {0:?}")]
    Invalid(String),
    /// A line of a file with a blank inside the variable's name.
    #[error("invalid environment variable: variable {0:?} contains whitespaces")]
    Blank(String),
}

/// Reads `-e NAME=value`, or `-e NAME`, which takes the value that `host` has for it and without one removes
/// the variable.
///
/// # Errors
/// The text has no name.
pub fn from_option(text: &str, host: impl Fn(&str) -> Option<String>) -> Result<EnvChange, EnvError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, host(text)),
    };
    if name.is_empty() || text.contains('\0') {
        return Err(EnvError::Invalid(text.to_owned()));
    }
    let name = name.to_owned();
    Ok(match value {
        Some(value) => EnvChange::Set(EnvSpec { name, value, value_from: None }),
        None => EnvChange::Unset(name),
    })
}

/// Reads the content of an `--env-file`: a variable a line, `#` comments, no quoting. A name alone that `host`
/// does not know is passed over.
///
/// # Errors
/// A line without a name, or with a blank in it.
pub fn from_file(content: &str, host: impl Fn(&str) -> Option<String>) -> Result<Vec<EnvChange>, EnvError> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut changes = Vec::new();
    for line in content.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.contains(char::is_whitespace) {
            return Err(EnvError::Blank(name.to_owned()));
        }
        if let set @ EnvChange::Set(_) = from_option(line, &host)? {
            changes.push(set);
        }
    }
    Ok(changes)
}

/// The container's environment: Docker's defaults, then the image's, then the user's; a later one of the same
/// name takes the earlier one's place.
pub(super) fn merge(
    image: &[String],
    changes: &[EnvChange],
    hostname: &str,
    tty: bool,
) -> Result<Vec<EnvSpec>, EnvError> {
    let set = |name: &str, value: &str| EnvSpec { name: name.into(), value: value.into(), value_from: None };
    let mut env = vec![set("PATH", DEFAULT_PATH), set("HOSTNAME", hostname)];
    if tty {
        env.push(set("TERM", "xterm"));
    }
    let image = image.iter().map(|text| from_option(text, |_| Some(String::new())));
    for change in image.chain(changes.iter().cloned().map(Ok)) {
        match change? {
            EnvChange::Unset(name) => env.retain(|known| known.name != name),
            EnvChange::Set(new) => {
                if new.name.is_empty() || new.name.contains(['=', '\0']) || new.value.contains('\0') {
                    return Err(EnvError::Invalid(new.name));
                }
                match env.iter_mut().find(|known| known.name == new.name) {
                    Some(known) => *known = new,
                    None => env.push(new),
                }
            }
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Option<String> {
        (name == "KNOWN").then(|| "from host".to_owned())
    }

    fn pairs(env: &[EnvSpec]) -> Vec<(&str, &str)> {
        env.iter().map(|entry| (entry.name.as_str(), entry.value.as_str())).collect()
    }

    #[test]
    fn options_set_take_and_remove() {
        let image = ["A=1".to_owned(), "PATH=/bin".to_owned(), "GONE=x".to_owned()];
        let changes: Vec<_> =
            ["A=2=3", "KNOWN", "GONE", "NEW="].iter().map(|text| from_option(text, host).unwrap()).collect();
        let env = merge(&image, &changes, "box", true).unwrap();
        let expected = [
            ("PATH", "/bin"),
            ("HOSTNAME", "box"),
            ("TERM", "xterm"),
            ("A", "2=3"),
            ("KNOWN", "from host"),
            ("NEW", ""),
        ];
        assert_eq!(pairs(&env), expected);
    }

    #[test]
    fn files_hold_a_variable_a_line() {
        let changes = from_file("\u{feff}# comment\n\n A=b c \nKNOWN\nUNKNOWN\nQ=\"x\"\r\n", host).unwrap();
        let env = merge(&[], &changes, "box", false).unwrap();
        assert_eq!(pairs(&env)[2..], [("A", "b c "), ("KNOWN", "from host"), ("Q", "\"x\"")]);
        assert_eq!(from_file("A B=c", host), Err(EnvError::Blank("A B".into())));
    }

    #[test]
    fn nameless_variables_are_refused() {
        assert_eq!(from_option("=x", host), Err(EnvError::Invalid("=x".into())));
        assert_eq!(from_option("", host), Err(EnvError::Invalid(String::new())));
        assert!(merge(&["A=b\0c".into()], &[], "box", false).is_err());
    }
}
