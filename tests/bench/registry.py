"""Debian's docker-registry on loopback with the test images in it, as the tests use it."""

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path


@contextlib.contextmanager
def serve(images):
    """The address of a registry that lives as long as the `with` block."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        # Port 0: the kernel chooses; the registry logs which.
        config.write_text("version: 0.1\nlog: {level: info, formatter: json}\nhttp: {addr: \"127.0.0.1:0\"}\nstorage:\n"
                          f"  filesystem: {{rootdirectory: {images}/registry}}\n"
                          "  maintenance: {readonly: {enabled: true}}\n")
        with subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as process:
            try:
                yield next(address for address in map(listening, process.stderr) if address)
            finally:
                process.kill()


def listening(line):
    try:
        message = json.loads(line).get("msg", "")
    except ValueError:
        return None
    return message.removeprefix("listening on ") if message.startswith("listening on ") else None
