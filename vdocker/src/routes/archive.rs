//! Files of a container: `HEAD`, `GET` and `PUT /containers/{id}/archive`, and `GET /containers/{id}/export`.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::archive::{PathStat, WriteOptions};
use crate::body::Body;
use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::query::Query;
use crate::request_body::RequestBody;
use crate::response::{self, Response};
use crate::task;
use crate::time;

const TAR: &str = "application/x-tar";

/// Chunks of an upload that wait for the one who unpacks.
const WAITING: usize = 4;

/// The longest path, as the kernel has it.
const MAX_PATH: usize = 4096;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PathStatHeader {
    name: String,
    size: u64,
    mode: u32,
    mtime: String,
    link_target: String,
}

/// `HEAD /containers/{id}/archive`: what is at a path.
pub(super) async fn stat<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let stat = context.engine.stat(&container, path(&context.query)?).await?;
    with_stat(response::status(StatusCode::OK), stat)
}

/// `GET /containers/{id}/archive`: a tar archive of what is at a path.
pub(super) async fn read<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let path = path(&context.query)?;
    let (stat, chunks) = context.engine.read_archive(&container, path).await?;
    context.engine.events().push(Event::now(&container, "archive-path", &[("path", path)]));
    with_stat(response::typed(StatusCode::OK, TAR, Body::chunks(chunks)), stat)
}

/// `PUT /containers/{id}/archive`: unpacks a tar archive into a directory.
pub(super) async fn write<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let Context { engine, query, body, .. } = context;
    let path = path(&query)?;
    let options = write_options(&query);
    let (chunks, archive) = mpsc::channel(WAITING);
    let present = Present::default();
    task::spawn(upload(body, chunks, Rc::clone(&present.gone)));
    engine.write_archive(&container, path, options, archive).await?;
    engine.events().push(Event::now(&container, "extract-to-dir", &[("path", path)]));
    Ok(response::status(StatusCode::OK))
}

/// `GET /containers/{id}/export`: a tar archive of the whole file tree.
pub(super) async fn export<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let chunks = context.engine.export(&container).await?;
    context.engine.events().push(Event::now(&container, "export", &[]));
    Ok(response::typed(StatusCode::OK, TAR, Body::chunks(chunks)))
}

/// `GET /containers/{id}/layer` (ours): what the container has written, as a layer for an image.
pub(super) async fn layer<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let chunks = context.engine.layer(&container).await?;
    Ok(response::typed(StatusCode::OK, TAR, Body::chunks(chunks)))
}

/// Lives as long as somebody waits for the answer to an upload.
#[derive(Default)]
struct Present {
    gone: Rc<Cell<bool>>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.gone.set(true);
    }
}

/// Hands an upload on. It runs beside the one who unpacks, so that an upload that breaks off ends in an error and not
/// like one that is whole, also where the connection is dropped with all that waits on it.
async fn upload(mut body: RequestBody, chunks: mpsc::Sender<io::Result<Bytes>>, gone: Rc<Cell<bool>>) {
    let broken = loop {
        match body.chunk().await {
            Ok(Some(bytes)) => {
                if chunks.send(Ok(bytes)).await.is_err() {
                    // Nobody unpacks any more.
                    return;
                }
            }
            Ok(None) if gone.get() => break "the client is gone".to_owned(),
            Ok(None) => return,
            Err(error) => break error.to_string(),
        }
    };
    let _unheard = chunks.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, broken))).await;
}

fn write_options(query: &Query) -> WriteOptions {
    WriteOptions {
        no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: query.flag("copyUIDGID"),
    }
}

fn path(query: &Query) -> Result<&str, EngineError> {
    let path = query
        .text("path")
        .ok_or_else(|| EngineError::BadRequest("bad parameter: path cannot be empty".into()))?;
    if path.len() > MAX_PATH {
        return Err(EngineError::BadRequest("bad parameter: path is too long".into()));
    }
    Ok(path)
}

fn with_stat(mut response: Response, stat: PathStat) -> Result<Response, EngineError> {
    let header = PathStatHeader {
        name: stat.name,
        size: stat.size,
        mode: stat.mode,
        mtime: time::trimmed(stat.mtime),
        link_target: stat.link_target,
    };
    let failed =
        |error: &dyn std::error::Error| EngineError::Failed(format!("cannot describe the path: {error}"));
    let json = serde_json::to_vec(&header).map_err(|error| failed(&error))?;
    let value = HeaderValue::try_from(STANDARD.encode(json)).map_err(|error| failed(&error))?;
    response.headers_mut().insert("x-docker-container-path-stat", value);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn options_are_off_where_they_are_not_asked_for() {
        let options = |text| write_options(&Query::parse(text).unwrap());
        assert_eq!(options("path=/"), WriteOptions::default());
        assert_eq!(options("noOverwriteDirNonDir=false&copyUIDGID=0"), WriteOptions::default());
        let owners = WriteOptions { copy_uid_gid: true, ..WriteOptions::default() };
        assert_eq!(options("copyUIDGID=true"), owners);
        let strict = WriteOptions { no_overwrite_dir_non_dir: true, ..WriteOptions::default() };
        assert_eq!(options("noOverwriteDirNonDir=1"), strict);
    }

    #[test]
    fn a_stat_is_json_in_a_header() {
        let stat = PathStat {
            name: "caf\u{e9}\n".into(),
            size: 7,
            mode: 1 << 27 | 0o777,
            mtime: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
            link_target: "/x".into(),
        };
        let response = with_stat(response::status(StatusCode::OK), stat).unwrap();
        let header = response.headers().get("x-docker-container-path-stat").unwrap();
        let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap();
        let wanted = serde_json::json!({
            "name": "caf\u{e9}\n", "size": 7, "mode": 134_218_239, "mtime": "1970-01-01T00:00:01.5Z", "linkTarget": "/x",
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn paths_are_bounded() {
        let ok = |text: &str| path(&Query::parse(text).unwrap()).is_ok();
        assert!(ok("path=/") && !ok("") && !ok("path="));
        assert!(
            ok(&format!("path={}", "x".repeat(MAX_PATH)))
                && !ok(&format!("path={}", "x".repeat(MAX_PATH + 1)))
        );
    }
}
