//! Progress bars on a terminal: one line a layer that is being read, drawn over in place.

use std::io::Write as _;
use std::time::{Duration, Instant};

use image::{Digest, Event};

use crate::size::human;

/// The shortest time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

/// The cells of a bar.
const CELLS: usize = 30;

/// The layers on screen.
pub(crate) struct Bars {
    layers: Vec<Layer>,
    drawn: usize,
    last: Option<Instant>,
}

struct Layer {
    id: Digest,
    size: Option<u64>,
    done: u64,
    begun: Instant,
}

impl Bars {
    /// An empty screen.
    pub(crate) fn new() -> Self {
        Self { layers: Vec::new(), drawn: 0, last: None }
    }

    /// Takes an event; false where it should become a line of its own.
    pub(crate) fn event(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::Layer { layer, size } => {
                self.layers.push(Layer { id: layer, size, done: 0, begun: Instant::now() });
            }
            Event::Bytes { layer, done } => {
                if let Some(layer) = self.layers.iter_mut().find(|known| known.id == layer) {
                    layer.done = done;
                }
            }
            Event::Done { layer, size } => {
                let Some(index) = self.layers.iter().position(|known| known.id == layer) else {
                    return false;
                };
                let seconds = self.layers.remove(index).begun.elapsed().as_secs_f64();
                self.line(&format!("{}: done, {} on disk in {seconds:.1} s", layer.short(), human(size)));
                return true;
            }
            _ => return false,
        }
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.draw();
        }
        true
    }

    /// Prints a line above the bars.
    pub(crate) fn line(&mut self, text: &str) {
        let mut out = self.erase();
        out.push_str(text);
        out.push('\n');
        let _ = std::io::stderr().write_all(out.as_bytes());
        self.draw();
    }

    fn draw(&mut self) {
        let columns = rustix::termios::tcgetwinsize(std::io::stderr())
            .map_or(80, |size| usize::from(size.ws_col))
            .clamp(20, 200);
        let mut out = self.erase();
        for layer in &self.layers {
            out.extend(layer.text().chars().take(columns - 1));
            out.push('\n');
        }
        let _ = std::io::stderr().write_all(out.as_bytes());
        self.drawn = self.layers.len();
        self.last = Some(Instant::now());
    }

    /// The bytes that take what is drawn off the screen.
    fn erase(&mut self) -> String {
        let up = std::mem::take(&mut self.drawn);
        if up == 0 { String::new() } else { format!("\x1b[{up}F\x1b[J") }
    }
}

impl Layer {
    fn text(&self) -> String {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (self.done as f64 / self.begun.elapsed().as_secs_f64().max(0.001)) as u64;
        let id = self.id.short();
        match self.size.filter(|size| *size > 0) {
            Some(size) => {
                let cells = self.done.min(size).saturating_mul(CELLS as u64) / size;
                let cells = usize::try_from(cells).unwrap_or(CELLS).min(CELLS);
                let bar = format!("{}{}", "=".repeat(cells), " ".repeat(CELLS - cells));
                format!("{id}: [{bar}] {} of {} at {}/s", human(self.done), human(size), human(rate))
            }
            None => format!("{id}: {} at {}/s", human(self.done), human(rate)),
        }
    }
}
