//! A session each of the SDKs for Python and Rust with the daemon: what applications do with containers.

use std::process::Command;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig, VolumeCreateOptions};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    EventsOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StatsOptionsBuilder, StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tests::{Daemon, Host};
use tokio::io::AsyncWriteExt as _;

#[test]
fn the_python_sdk_runs_a_session() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let script = tests::work_tree().join("tests/e2e/frontend/sdk.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .env("PYTHONPATH", tests::tool("docker-sdk"))
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .env("DOCKER_CONFIG", host.folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_rust_sdk_runs_a_session() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = Docker::connect_with_unix(&daemon.socket().display().to_string(), 120, API_DEFAULT_VERSION);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(session(&docker.unwrap()));
}

async fn session(docker: &Docker) {
    let docker = &docker.clone().negotiate_version().await.unwrap();
    assert_eq!(docker.ping().await.unwrap(), "OK");
    echoed(docker).await;
    let volume = VolumeCreateOptions { name: Some("data".to_owned()), ..VolumeCreateOptions::default() };
    docker.create_volume(volume).await.unwrap();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let binds = Some(vec!["data:/data".to_owned()]);
    let host_config = HostConfig { binds, memory: Some(64 << 20), ..HostConfig::default() };
    create(docker, "web", &["sh", "-c", script], host_config).await;
    docker.start_container("web", None::<StartContainerOptions>).await.unwrap();
    let follow = LogsOptionsBuilder::default().follow(true).stdout(true).build();
    let first = docker.logs("web", Some(follow)).next().await.unwrap().unwrap();
    assert_eq!(first.into_bytes(), "ready\n");
    inside(docker).await;

    let list = ListContainersOptionsBuilder::default().filters(&[("name", vec!["web"])].into()).build();
    let found = docker.list_containers(Some(list)).await.unwrap();
    assert_eq!(found[0].names, Some(vec!["/web".to_owned()]));
    let stop = StopContainerOptionsBuilder::default().t(20).build();
    docker.stop_container("web", Some(stop)).await.unwrap();
    // An exit code that is not 0 is an error in this client's eyes.
    let wait = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let ended = docker.wait_container("web", Some(wait)).next().await.unwrap().unwrap_err();
    assert!(matches!(ended, bollard::errors::Error::DockerContainerWaitError { code: 7, .. }), "{ended}");
    let remove = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container("web", Some(remove)).await.unwrap();
    let missing =
        docker.inspect_container("web", None::<bollard::query_parameters::InspectContainerOptions>).await;
    let status = |error| match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => status_code,
        error => panic!("{error}"),
    };
    assert_eq!(status(missing.unwrap_err()), 404);
    told(docker).await;
}

async fn create(docker: &Docker, name: &str, cmd: &[&str], host_config: HostConfig) {
    let body = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(cmd.iter().map(|word| (*word).to_owned()).collect()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), body).await.unwrap();
}

/// What goes into a container that is attached to before its start comes out of it.
async fn echoed(docker: &Docker) {
    create(docker, "echo", &["cat"], HostConfig { auto_remove: Some(true), ..HostConfig::default() }).await;
    let attach = AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stream(true).build();
    let mut attached = docker.attach_container("echo", Some(attach)).await.unwrap();
    let removed = WaitContainerOptionsBuilder::default().condition("removed").build();
    let mut waiting = docker.wait_container("echo", Some(removed));
    let ended = async {
        docker.start_container("echo", None::<StartContainerOptions>).await.unwrap();
        attached.input.write_all(b"there and back").await.unwrap();
        attached.input.shutdown().await.unwrap();
        assert_eq!(text(attached.output).await, "there and back");
    };
    let (code, ()) = futures_util::join!(waiting.next(), ended);
    assert_eq!(code.unwrap().unwrap().status_code, 0);
}

/// Execs, copies and figures of a container that runs.
async fn inside(docker: &Docker) {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let wish = ExecConfig {
        cmd: words(&["sh", "-c", "echo $A; cat /data/file; exit 5"]),
        env: words(&["A=b"]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let tar = packed("file", b"text");
    let place = UploadToContainerOptionsBuilder::default().path("/data").build();
    docker.upload_to_container("web", Some(place), bollard::body_full(tar.clone().into())).await.unwrap();
    let exec = docker.create_exec("web", wish).await.unwrap().id;
    let StartExecResults::Attached { output, .. } = docker.start_exec(&exec, None).await.unwrap() else {
        panic!("the exec is detached")
    };
    assert_eq!(text(output).await, "b\ntext");
    assert_eq!(docker.inspect_exec(&exec).await.unwrap().exit_code, Some(5));
    let place = DownloadFromContainerOptionsBuilder::default().path("/data/file").build();
    let pieces: Vec<_> = docker.download_from_container("web", Some(place)).try_collect().await.unwrap();
    assert_eq!(pieces.concat()[512..516], *b"text");
    let once = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let stats = docker.stats("web", Some(once)).next().await.unwrap().unwrap();
    assert!(stats.memory_stats.unwrap().usage > Some(0));
}

/// The events of the containers up to now.
async fn told(docker: &Docker) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let filters = [("container", vec!["web"]), ("event", vec!["create", "start", "die", "destroy"])].into();
    let until = (now + 1).to_string();
    let options = EventsOptionsBuilder::default().since("0").until(&until).filters(&filters).build();
    let events: Vec<_> = docker.events(Some(options)).try_collect().await.unwrap();
    let actions: Vec<_> = events.iter().filter_map(|event| event.action.as_deref()).collect();
    assert_eq!(actions, ["create", "start", "die", "destroy"]);
}

async fn text(output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>>) -> String {
    let pieces: Vec<_> = output.map_ok(LogOutput::into_bytes).try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

/// An archive of one file: a header of ustar, and its bytes in a block.
fn packed(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0; 1024];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block[512..512 + bytes.len()].copy_from_slice(bytes);
    [&block[..], &[0; 1024]].concat()
}
