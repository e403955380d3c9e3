//! Panics of a parser, also those that code between it and us contains.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a parser runs on this thread, and the first panic's message.
    static CAUGHT: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs a parser. The error is its first panic's message.
pub(super) fn catch<T>(parser: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ours = CAUGHT.with_borrow_mut(|caught| {
                caught.as_mut().map(|message| message.get_or_insert_with(|| info.to_string())).is_some()
            });
            if !ours {
                before(info);
            }
        }));
    });
    CAUGHT.set(Some(None));
    let made = panic::catch_unwind(AssertUnwindSafe(parser));
    match (made, CAUGHT.take().flatten()) {
        (Ok(made), None) => Ok(made),
        (_, message) => Err(message.unwrap_or_else(|| "a panic without a word".into())),
    }
}
