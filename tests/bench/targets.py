"""The targets that boot is held to, each with where its figure comes from. Read by report.py and docs/promises.md.

A figure is a list of samples: `wall`, `first` and marks of the timeline are milliseconds (lab ms in the lab), the rest
as the unit says. Differences are taken pair by pair, within a round.
"""

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Target:
    what: str
    at_most: float
    unit: str
    subject: str  # whose cost stands beside the figure
    samples: Callable  # of the results, a list of figures


def timed(results, subject, field="wall"):
    return [sample[field] for sample in results["samples"].get(subject, [])]


def stage(results, subject, begin, end):
    """From one mark of `run --timeline` to another."""
    return [took(sample, begin, end) for sample in results["samples"].get(subject, [])]


def took(sample, begin, end):
    return sample["timeline"][end] - sample["timeline"][begin]


def teardown(results):
    """From the guest's last word to the end of the process, as whoever waits for it sees it."""
    return [sample["end"] - sample["power-off"] for sample in results["samples"].get("timeline", [])]


def beyond(results, subject, reference, of):
    """The differences of a figure of two subjects in the rounds that both took part in."""
    by_round = {sample["round"]: of(sample) for sample in results["samples"].get(reference, [])}
    return [of(sample) - by_round[sample["round"]] for sample in results["samples"].get(subject, [])]


def more(subject):
    return lambda results: beyond(results, subject, "kcradle run", lambda sample: sample["wall"])


def entry_to_exec(image):
    return lambda results: beyond(results, image, "timeline", lambda sample: took(sample, "guest-entered", "exec"))


def sized(name):
    return lambda results: [results["sizes"][name]] if name in results["sizes"] else []


TARGETS = [
    Target("exec to exit, container `true`", 80, "ms", "kcradle run", lambda r: timed(r, "kcradle run")),
    Target("exec to the first output byte", 60, "ms", "kcradle output", lambda r: timed(r, "kcradle output", "first")),
    Target("exec to a 200 on /_ping of docker.sock", 90, "ms", "docker.sock",
           lambda r: timed(r, "docker.sock", "first")),
    Target("kernel entry to guest-init", 25, "ms", "timeline", lambda r: stage(r, "timeline", "guest-entered", "init")),
    Target("guest-init to the container's exec", 6, "ms", "timeline", lambda r: stage(r, "timeline", "init", "exec")),
    Target("power-off to the VMM's exit", 5, "ms", "timeline", teardown),
    Target("exec to exit with 4 GiB, beyond", 5, "ms", "4 GiB", more("4 GiB")),
    Target("exec to exit with 4 vCPUs, beyond", 8, "ms", "4 vCPUs", more("4 vCPUs")),
    Target("exec to exit with 20 layers, beyond", 2, "ms", "20 layers", more("20 layers")),
    Target("exec to exit with a shared directory, beyond", 15, "ms", "1 share", more("1 share")),
    Target("exec to exit with two, beyond one", 15, "ms", "2 shares",
           lambda r: beyond(r, "2 shares", "1 share", lambda sample: sample["wall"])),
    Target("exec to exit on a network, beyond", 8, "ms", "network", more("network")),
    Target("exec to exit with a network and two volumes, beyond", 8, "ms", "network and 2 volumes",
           more("network and 2 volumes")),
    Target("debian: kernel entry to exec, beyond", 3, "ms", "debian", entry_to_exec("debian")),
    Target("nginx: kernel entry to exec, beyond", 3, "ms", "nginx", entry_to_exec("nginx")),
    Target("mariadb: kernel entry to exec, beyond", 3, "ms", "mariadb", entry_to_exec("mariadb")),
    Target("VMM memory beyond the guest's", 3, "MiB", "", sized("VMM memory")),
    Target("guest memory resident on the host, idle", 24, "MiB", "", sized("guest memory")),
    Target("guest memory not free inside, idle", 24, "MiB", "", sized("guest memory inside")),
    Target("summon of a cached image", 15, "ms", "summon", lambda r: timed(r, "summon")),
    Target("guest-init, bytes", 2, "MiB", "", sized("guest-init")),
    Target("kcradle, bytes", 12, "MiB", "", sized("kcradle")),
]
