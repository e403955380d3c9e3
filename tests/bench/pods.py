"""A kcradle, its runtime package, its store and its pods, all in memory: the subject of every benchmark.

Each pod is checked as it is summoned: the image is the one of the layout, by digest, and its features are those that
`summon` gives by default, so nothing is measured that a user would not get.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

MEMORY_MIB = 128


class Kcradle:
    """One build of kcradle, copied from the folder `staged` to one of its own."""

    def __init__(self, work, staged, images):
        self.work, self.images = work, images
        work.mkdir(parents=True)
        self.binary = Path(shutil.copy2(staged / "kcradle", work / "kcradle"))
        self.package = Path(shutil.copytree(staged / "pkg-default", work / "package"))
        self.environment = os.environ | {"CRADLE_HOME": str(work / "home"), "CRADLE_PKG": str(self.package)}
        if virtiofsd := shutil.which("virtiofsd"):
            self.environment["CRADLE_VIRTIOFSD"] = str(shutil.copy2(virtiofsd, work / "virtiofsd"))

    def call(self, *arguments):
        """Runs it, not measured, and answers its output; the benchmark ends where it fails."""
        command = [str(word) for word in (self.binary, *arguments)]
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"bench: {' '.join(command)}: {run.stdout}{run.stderr}")
        return run.stdout

    def summon(self, name, *command, image="busybox", memory=MEMORY_MIB, cpus=1, flags=()):
        """A pod of an image of the layout, with only its size chosen."""
        pod = self.work / name
        told = self.call("summon", "--json", "--quiet", "--memory", f"{memory}m", "--cpus", cpus, *flags, pod,
                         f"oci:{self.images}/oci:{image}", *command)
        found, wanted = json.loads(told)["images"][0]["digest"], manifest_digest(self.images, image)
        if found != wanted:
            sys.exit(f"bench: the pod of {image} has the image {found}, not {wanted}")
        return pod

    def check_defaults(self, pod, *command):
        """Ends the benchmark unless the pod is what `summon` makes of the same image and command by itself."""
        plain = self.work / "plain"
        self.call("summon", "--quiet", plain, f"oci:{self.images}/oci:busybox", *command)
        if features(pod) != features(plain):
            sys.exit(f"bench: {pod} differs from a pod by default by more than its size")
        self.call("rm", plain)

    def run(self, pod, *flags):
        return [self.binary, "run", *flags, pod]


def features(pod):
    """All that a pod's files say but for its identity and its size."""
    launch, record = (json.loads((pod / name).read_text()) for name in ("launch.json", "pod.json"))
    text = json.dumps([launch, record], sort_keys=True)
    text = text.replace(launch["id"], "ID").replace(launch["id"][:12], "ID").replace(str(pod), "POD")
    launch, record = json.loads(text)
    for size in ("cpu", "mem"):
        launch["resources"].pop(size, None)
    record.pop("created")
    return launch, record


def blob(images, digest):
    """A document of the layout."""
    return json.loads((images / "oci/blobs" / digest.replace(":", "/")).read_text())


def manifest(images, tag):
    return blob(images, manifest_digest(images, tag))


def manifest_digest(images, tag):
    index = json.loads((images / "oci/index.json").read_text())
    name = "org.opencontainers.image.ref.name"
    return next(entry["digest"] for entry in index["manifests"] if entry["annotations"].get(name) == tag)
