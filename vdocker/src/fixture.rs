//! Containers for unit tests.

use std::rc::Rc;
use std::time::SystemTime;

use spec::ContainerSpec;
use tokio::sync::watch;

use crate::container::{Container, ContainerState, Status};
use crate::log::Log;

/// A container that runs, as the first of its pod.
pub(crate) fn container(name: &str) -> Rc<Container> {
    numbered(name, 0, &"ab".repeat(32))
}

/// A container that runs.
pub(crate) fn numbered(name: &str, index: usize, id: &str) -> Rc<Container> {
    let spec: ContainerSpec = serde_json::from_value(serde_json::json!({
        "name": name,
        "image": { "ref": "busybox", "digest": "", "disk": 0, "writable": "tmpfs" },
        "process": {
            "cmd": ["sh"], "workdir": "/", "tty": false, "stdin": false,
            "capabilities": [], "stopSignal": 15, "stopTimeout": 10,
        },
        "hostname": name,
        "shmSize": 0,
    }))
    .expect("the specification is complete");
    let state = ContainerState { status: Status::Running, ..ContainerState::default() };
    Rc::new(Container {
        id: id.to_owned(),
        index,
        spec,
        created: SystemTime::UNIX_EPOCH,
        state: watch::Sender::new(state),
        log: Log::in_memory(),
    })
}
