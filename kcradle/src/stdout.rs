//! What commands print on standard output. A reader that has gone, such as `head`, ends the command as it ends every
//! other program; a full disk is an error, not a panic.

use std::fmt::Arguments;
use std::io::{self, Write as _};

use serde::Serialize;

/// The exit code of a program whose reader has gone: 128 and the number of SIGPIPE.
const READER_GONE: i32 = 141;

/// Prints text.
pub(crate) fn text(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        end(&error);
    }
}

/// Prints a document as JSON over many lines.
///
/// # Errors
/// What cannot be JSON.
pub(crate) fn json(document: &impl Serialize) -> serde_json::Result<()> {
    line(format_args!("{}", shielded(&serde_json::to_string_pretty(document)?)));
    Ok(())
}

/// JSON that holds no control character of a terminal, beyond those that every JSON has escaped: DEL and C1.
fn shielded(json: &str) -> String {
    let mut shielded = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            // They stand in strings alone.
            '\u{7f}'..='\u{9f}' => shielded.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => shielded.push(other),
        }
    }
    shielded
}

/// Prints text and a line feed.
pub(crate) fn line(line: Arguments<'_>) {
    text(format_args!("{line}\n"));
}

/// Ends the command: what it was asked for has nowhere to go.
fn end(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
    eprintln!("kcradle: cannot write to standard output: {error}");
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_is_told_anything_by_json() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}2J\u{80}\u{a0}ü";
        let json = shielded(&serde_json::to_string_pretty(&[text]).unwrap());
        assert_eq!(json, "[\n  \"a\\u001b[2J\\u007f\\u009b2J\\u0080\u{a0}ü\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
