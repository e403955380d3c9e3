//! Containers for unit tests.

use std::rc::Rc;
use std::time::SystemTime;

use spec::ContainerSpec;
use tokio::sync::watch;

use crate::container::{Container, ContainerState, Status};
use crate::log::Log;

/// A container that runs, as the first of its pod.
pub(crate) fn container(name: &str) -> Rc<Container> {
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
        id: "ab".repeat(32),
        index: 0,
        spec,
        created: SystemTime::UNIX_EPOCH,
        state: watch::Sender::new(state),
        log: Log::in_memory(),
    })
}
