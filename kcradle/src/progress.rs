//! Shows how a pull goes on: bars with rates on a terminal, plain lines otherwise, nothing with `--quiet`.
//!
//! Everything goes to standard error. Implements [`image::Progress`] for `summon`.

mod bars;

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use image::{Event, Origin, Progress};

use bars::Bars;

use crate::failure::push_visible;
use crate::size::human;

/// Where the events of a pull go.
pub(crate) enum Display {
    /// Nowhere.
    Quiet,
    /// A line an event.
    Lines,
    /// Bars that are drawn over.
    Bars(Mutex<Bars>),
}

impl Display {
    /// Bars where standard error is a terminal that can draw over, lines where not.
    pub(crate) fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && !dumb {
            Self::Bars(Mutex::new(Bars::new()))
        } else {
            Self::Lines
        }
    }

    /// A line of the program itself.
    pub(crate) fn line(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines => eprintln!("{text}"),
            Self::Bars(bars) => bars.lock().unwrap_or_else(PoisonError::into_inner).line(text),
        }
    }
}

impl Progress for Display {
    fn event(&self, event: Event<'_>) {
        if let Self::Bars(bars) = self {
            let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
            if bars.event(event) {
                return;
            }
        }
        if let Some(text) = sentence(event) {
            self.line(&text);
        }
    }
}

/// The line of an event, for those that have one.
fn sentence(event: Event<'_>) -> Option<String> {
    let mut line = String::new();
    match event {
        Event::Resolving { source } => {
            line.push_str("looking for ");
            push_visible(&mut line, source);
        }
        Event::Found { origin, layers } => {
            let place = match origin {
                Origin::Store => "in the store",
                Origin::Registry => "in the registry",
                Origin::File => "in the file",
                Origin::Daemon => "in the Docker daemon",
            };
            line = format!("found {place}, {layers} layer{}", if layers == 1 { "" } else { "s" });
        }
        Event::Layer { layer, size } => {
            line = format!(
                "{}: reading{}",
                layer.short(),
                size.map(|size| format!(" {}", human(size))).unwrap_or_default()
            );
        }
        Event::Cached { layer } => line = format!("{}: in the store already", layer.short()),
        Event::Waiting { layer } => line = format!("{}: waiting for another process", layer.short()),
        Event::Planned { .. } | Event::Bytes { .. } | Event::Ready => return None,
        Event::Retry { layer, cause } => {
            line = layer.map_or_else(String::new, |layer| format!("{}: ", layer.short()));
            line.push_str("trying again: ");
            push_visible(&mut line, cause);
        }
        Event::Done { layer, size } => line = format!("{}: done, {} on disk", layer.short(), human(size)),
        Event::Merging => line.push_str("merging layers"),
        Event::Hashing { done, size } => {
            line = format!("hashing the disk: {} of {}", human(done), human(size));
        }
    }
    Some(line)
}
