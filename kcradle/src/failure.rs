//! A command that failed: the error with its chain, what to do about it, and the exit code.
//!
//! Every command returns a [`Failure`]; `main` prints it with [`Failure::print`], the only place that writes
//! an error's chain.

use std::fmt::{self, Write as _};

/// The exit code of a command that failed by itself.
pub(crate) const CODE_FAILED: u8 = 1;
/// The exit code of `kcradle run` where the failure is not the container's, as Docker counts.
pub(crate) const CODE_RUN_FAILED: u8 = 125;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    details: Vec<String>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with a text of its own and no cause.
    pub(crate) fn new(text: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        anyhow::Error::msg(text).into()
    }

    /// Sets what the user can do, in place of what the error itself suggests.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines that are shown below the error, such as a log's last ones.
    pub(crate) fn details(mut self, lines: &[String]) -> Self {
        self.details.extend_from_slice(lines);
        self
    }

    /// Sets the process's exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Puts a sentence before the error's chain.
    pub(crate) fn context(mut self, text: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(text);
        self
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// The chain on one line, outermost first, with control characters made visible: parts of it may come
    /// from a registry, an image or a guest.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        let mut last = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            // A transparent error shows its source's text as its own.
            if text.is_empty() || last.ends_with(&text) {
                continue;
            }
            if !line.is_empty() {
                line.push_str(": ");
            }
            push_visible(&mut line, &text);
            last = text;
        }
        line
    }

    /// Writes the failure to standard error: one line, the details, and a line that begins with `hint:`.
    pub(crate) fn print(&self) {
        eprintln!("kcradle: {}", self.line());
        for line in &self.details {
            let mut visible = String::new();
            push_visible(&mut visible, line);
            eprintln!("  | {visible}");
        }
        if let Some(hint) = self.hint.clone().or_else(|| crate::hint::of(&self.error)) {
            eprintln!("hint: {hint}");
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, details: Vec::new(), hint: None, code: CODE_FAILED }
    }
}

/// Adds a hint to the failure of a result.
pub(crate) trait HintExt<T> {
    /// Sets what the user can do about the failure.
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> HintExt<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| error.into().hint(hint))
    }
}

/// Appends `text` with control characters escaped.
pub(crate) fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_chain_is_one_line_and_told_once() {
        let inner = std::io::Error::other("disk on fire\n\x1b[31m");
        let error = Err::<(), _>(inner).context("cannot write x").context("cannot summon y").unwrap_err();
        assert_eq!(
            Failure::from(error).line(),
            "cannot summon y: cannot write x: disk on fire\\n\\u{1b}[31m"
        );
    }

    #[test]
    fn a_transparent_source_is_not_repeated() {
        let error = anyhow::anyhow!("no such thing").context("cannot: no such thing");
        assert_eq!(Failure::from(error).line(), "cannot: no such thing");
    }
}
