//! The table of routes: method, path, and the function that answers.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;
use vdocker::EngineError;
use vdocker::query;
use vdocker::response::Response;

use crate::context::Context;
use crate::{container, images, network, system, volume};

/// What a handler returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response, EngineError>>>>;

/// A line of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// What stands before the name, the name's form, and what stands behind it.
    pub(crate) pattern: &'static str,
    pub(crate) handler: Box<dyn Fn(Context) -> Answer>,
}

/// All routes; the first that matches answers.
pub(crate) fn table() -> Vec<Route> {
    let mut routes = system::routes();
    routes.extend(container::routes::routes());
    routes.extend(images::routes());
    routes.extend(volume::routes::routes());
    routes.extend(network::routes::routes());
    routes
}

/// A route. In its pattern `{id}` stands for one segment of the path and `{name}` for one or more.
pub(crate) fn route<F>(
    method: Method,
    pattern: &'static str,
    handler: impl Fn(Context) -> F + 'static,
) -> Route
where
    F: Future<Output = Result<Response, EngineError>> + 'static,
{
    Route { method, pattern, handler: Box::new(move |context| Box::pin(handler(context))) }
}

impl Route {
    /// What stands for the pattern's name in a path that the route is for, decoded; empty without one. `None`: the
    /// route is not for it.
    pub(crate) fn matches(&self, method: &Method, path: &str) -> Option<String> {
        if self.method == *method { name_in(self.pattern, path.strip_prefix('/')?) } else { None }
    }
}

fn name_in(pattern: &str, path: &str) -> Option<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(String::new);
    };
    let (kind, behind) = rest.split_once('}')?;
    let name = path.strip_prefix(before)?.strip_suffix(behind)?;
    let is_one = !name.contains('/');
    if name.is_empty() || (kind == "id" && !is_one) {
        return None;
    }
    query::decode(name, false)
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn paths_match_as_a_whole() {
        let id = |path| name_in("containers/{id}/json", path);
        assert_eq!(id("containers/web/json").as_deref(), Some("web"));
        assert_eq!(id("containers/%2Fweb/json").as_deref(), Some("/web"));
        assert_eq!(name_in("info", "info").as_deref(), Some(""));
        let image = |path| name_in("images/{name}/json", path);
        assert_eq!(
            image("images/localhost:5000/team/web:1/json").as_deref(),
            Some("localhost:5000/team/web:1")
        );
        assert_eq!(name_in("images/{name}", "images/a/b").as_deref(), Some("a/b"));
        for path in
            ["containers//json", "containers/web", "containers/a/b/json", "containers/%zz/json", "json", ""]
        {
            assert_eq!(id(path), None, "{path}");
        }
    }
}
