"""What an application does with containers through the Python SDK. Run by sdk.rs, with DOCKER_HOST in the environment."""

import io
import tarfile

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

PROGRAM = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"


def fails(error, action):
    try:
        action()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


def short_runs(client):
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    failed = fails(ContainerError, lambda: client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"]))
    assert (failed.exit_status, failed.stderr) == (3, b"no\n")
    failed.container.remove()
    assert client.containers.run("busybox", ["echo", "unread"], log_config={"type": "none"}, remove=True) is None
    fails(NotFound, lambda: client.containers.get("nobody"))
    fails(ImageNotFound, lambda: client.images.get("nothing"))
    # Not 404, which would make it look for the image.
    heir_of_nobody = fails(APIError, lambda: client.containers.create("busybox", volumes_from=["nobody"]))
    assert heir_of_nobody.status_code == 400 and "No such container: nobody" in str(heir_of_nobody)


def inside(container):
    """Logs, execs, copies and figures of a container that runs."""
    assert next(container.logs(stream=True, follow=True)) == b"ready\n"
    code, output = container.exec_run(["sh", "-c", "echo $A; id -G; exit 4"], environment={"A": "b"})
    assert code == 4 and output.split() == [b"b", b"0", b"1000"], output
    _, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (out, err) == (b"out\n", b"err\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"text"))
    assert container.put_archive("/data", packed.getvalue())
    assert container.exec_run(["cat", "/data/file"]).output == b"text"
    pieces, stat = container.get_archive("/data/file")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert (tar.extractfile("file").read(), stat["size"]) == (b"text", 4)
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0
    assert any("sleep" in " ".join(row) or "trap" in " ".join(row) for row in container.top()["Processes"])
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()


def after(client, container):
    """What a container leaves."""
    container.stop(timeout=20)
    assert container.wait()["StatusCode"] == 7
    assert container.attach(logs=True, stream=False) == b"ready\nbye\n" == container.logs()
    sizes = client.api.inspect_container(container.id)
    assert sizes["State"]["ExitCode"] == 7 and sizes["State"]["Status"] == "exited"
    [row] = client.api.containers(all=True, size=True, filters={"name": "renamed"})
    assert row["SizeRw"] > 1 << 20, row
    image = container.commit("made", tag="1", changes='CMD ["cat", "/big-enough"]')
    assert client.containers.run("made:1", remove=True) == b"kept"
    heir = client.containers.run("busybox", ["cat", "/data/file"], volumes_from=["renamed"], remove=True)
    assert heir == b"text"
    assert "not running" in str(fails(APIError, lambda: container.exec_run("true")))
    client.images.remove(image.id)


def main():
    client = docker.from_env()
    assert client.ping() and client.version()["Os"] == "linux"
    short_runs(client)
    data = client.volumes.create("data", labels={"of": "session"})
    container = client.containers.run(
        "busybox", ["sh", "-c", PROGRAM], name="web", detach=True, labels={"of": "session"}, group_add=[1000],
        volumes={"data": {"bind": "/data", "mode": "rw"}}, mem_limit="64m", restart_policy={"Name": "on-failure"})
    assert [found.name for found in client.containers.list(filters={"label": "of=session"})] == ["web"]
    container.rename("renamed")
    container.update(restart_policy={"Name": "no"})
    inside(container)
    container.exec_run(["sh", "-c", "dd if=/dev/zero of=/zeros bs=1M count=2; printf kept >/big-enough"])
    after(client, container)
    removed = client.containers.prune()
    assert removed["ContainersDeleted"] == [container.id] and removed["SpaceReclaimed"] > 1 << 20, removed
    # The image has the volume of its container, so that its own container left one without a name.
    deleted = client.volumes.prune(filters={"all": "true"})["VolumesDeleted"]
    assert data.name in deleted and len(deleted) == 2 and client.volumes.list() == [], deleted
    client.close()


main()
