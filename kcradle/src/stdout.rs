//! What commands print on standard output. A reader that has gone, such as `head`, ends the command as it ends every
//! other program; a full disk is an error, not a panic.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// The exit code of a program whose reader has gone: 128 and the number of SIGPIPE.
const READER_GONE: i32 = 141;

/// Prints text.
pub(crate) fn text(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        end(&error);
    }
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
