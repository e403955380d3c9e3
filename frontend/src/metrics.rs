//! What the daemon counts, for Prometheus (text format 0.0.4): `GET /metrics` on the API's socket, or [`Scrape`] on one of its
//! own. No name, image or address of anybody's is in it: what labels there are is the daemon's own choice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use vdocker::response::{self, Response};
use vdocker::server::{Request, Server, Service};
use vdocker::{EngineError, time};

use crate::container::record::Status;
use crate::daemon::Daemon;
use crate::routes::Route;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of a start's durations, in milliseconds.
const BOUNDS: [u64; 10] = [50, 100, 200, 300, 500, 750, 1000, 2000, 5000, 10_000];

const STATES: [Status; 7] = [
    Status::Created,
    Status::Running,
    Status::Paused,
    Status::Restarting,
    Status::Removing,
    Status::Exited,
    Status::Dead,
];

/// What is counted from the daemon's start on.
pub(crate) struct Metrics {
    since: SystemTime,
    /// By the route's place in the table, and by status; the routes' number stands for a path that is none.
    requests: RefCell<BTreeMap<(usize, u16), u64>>,
    starts: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { since: SystemTime::now(), requests: RefCell::default(), starts: Histogram::default() }
    }
}

/// Durations, by upper bound.
#[derive(Default)]
struct Histogram {
    buckets: [Cell<u64>; BOUNDS.len()],
    count: Cell<u64>,
    sum: Cell<Duration>,
}

impl Metrics {
    /// Counts an answered request. `route` is its place in the table.
    pub(crate) fn answered(&self, routes: &[Route], route: usize, code: u16, took: Duration) {
        *self.requests.borrow_mut().entry((route, code)).or_default() += 1;
        let pattern = routes.get(route).map_or("", |route| route.pattern);
        if pattern == "containers/{id}/start" && code == StatusCode::NO_CONTENT.as_u16() {
            self.starts.observe(took);
        }
    }
}

impl Histogram {
    fn observe(&self, took: Duration) {
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            if took <= Duration::from_millis(bound) {
                bucket.set(bucket.get() + 1);
            }
        }
        self.count.set(self.count.get() + 1);
        self.sum.set(self.sum.get() + took);
    }
}

/// `GET /metrics`.
pub(crate) fn answer(daemon: &Daemon) -> Response {
    response::typed(StatusCode::OK, TEXT, text(daemon))
}

/// A server that answers `GET /metrics` alone.
pub fn server(daemon: &Rc<Daemon>) -> Server<Scrape> {
    let daemon = Rc::clone(daemon);
    Server::limited(16, 0, |_open| Scrape(daemon))
}

/// What answers `GET /metrics` alone.
pub struct Scrape(Rc<Daemon>);

impl Service for Scrape {
    async fn answer(self: Rc<Self>, request: Request) -> Response {
        let is_known = request.parts.uri.path() == "/metrics";
        match request.parts.method {
            Method::GET | Method::HEAD if is_known => answer(&self.0),
            _ => response::error(&EngineError::NotFound("page not found".into())),
        }
    }
}

/// All metrics in the text format.
fn text(daemon: &Daemon) -> String {
    let mut text = String::new();
    let family = |text: &mut String, name: &str, kind: &str, help: &str| {
        // A string takes everything.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    family(&mut text, "cradle_containers", "gauge", "Containers by state.");
    let containers = daemon.containers.all();
    for state in STATES {
        let count = containers.iter().filter(|one| one.state().status == state).count();
        let _ = writeln!(text, "cradle_containers{{state=\"{}\"}} {count}", state.word());
    }
    family(&mut text, "cradle_http_requests_total", "counter", "Answered requests by route and status.");
    for (&(route, code), count) in &*daemon.metrics.requests.borrow() {
        let (method, path) =
            daemon.routes.get(route).map_or(("", "other"), |r| (r.method.as_str(), r.pattern));
        let _ = writeln!(
            text,
            "cradle_http_requests_total{{method=\"{method}\",route=\"/{path}\",code=\"{code}\"}} {count}"
        );
    }
    family(
        &mut text,
        "cradle_events_total",
        "counter",
        "What has happened, as GET /events tells it: pulls, starts, ends.",
    );
    for ((kind, action), count) in daemon.events.counts() {
        let _ = writeln!(text, "cradle_events_total{{type=\"{kind}\",action=\"{action}\"}} {count}");
    }
    family(&mut text, "cradle_container_start_seconds", "histogram", "From a start's request to its answer.");
    let starts = &daemon.metrics.starts;
    for (bucket, bound) in starts.buckets.iter().zip(BOUNDS) {
        let bound = Duration::from_millis(bound).as_secs_f64();
        let _ = writeln!(text, "cradle_container_start_seconds_bucket{{le=\"{bound}\"}} {}", bucket.get());
    }
    let (count, sum) = (starts.count.get(), starts.sum.get().as_secs_f64());
    let _ = writeln!(text, "cradle_container_start_seconds_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(
        text,
        "cradle_container_start_seconds_sum {sum}\ncradle_container_start_seconds_count {count}"
    );
    let gauges = [
        ("cradle_volumes", "Named and anonymous volumes.", daemon.volumes.all().len()),
        ("cradle_networks", "Networks, those among them that are always there.", daemon.networks.all().len()),
        ("cradle_http_connections", "Open connections of clients.", daemon.open.connections()),
        ("cradle_http_streams", "Connections that are streams: attach and exec.", daemon.open.streams()),
        ("cradle_event_followers", "Clients that follow GET /events.", daemon.events.followers()),
    ];
    for (name, help, value) in gauges {
        family(&mut text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
    family(&mut text, "process_start_time_seconds", "gauge", "When the daemon began, in seconds since 1970.");
    let _ = writeln!(text, "process_start_time_seconds {}", time::unix(daemon.metrics.since));
    if let Some(bytes) = resident() {
        family(&mut text, "process_resident_memory_bytes", "gauge", "Memory of the daemon itself.");
        let _ = writeln!(text, "process_resident_memory_bytes {bytes}");
    }
    text
}

/// Bytes of memory that this process has in use.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_below_each_bound_that_they_reach() {
        let histogram = Histogram::default();
        for millis in [10, 50, 51, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!(histogram.buckets.each_ref().map(Cell::get), [2, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((histogram.count.get(), histogram.sum.get()), (4, Duration::from_millis(60_111)));
    }
}
