"""How many pods fit: starts 1, 10, 50 and 100 small pods on one host and tells the time and memory of each.

Called by `run`: the first counts in `make bench`, all of them in `make bench-density`. A pod is a busybox that sleeps.
It counts when it has answered with a word of its own, has a filter in every thread, and is alive when memory is read.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import memory
from pods import Kcradle
from sample import Failed
from steady import Steady
from table import figure, table

FEW = (1, 10)
ALL = (1, 10, 50, 100)
MEMORY_MIB = 64
PAPER_GIB = 512  # the host of the estimate
PAPER_RESERVE_GIB = 8  # for the host's own kernel and services
FIELDS = ("guest", "guest proportional", "guest shared", "vmm", "vmm private", "vmm proportional")


def measure(staged, images, counts):
    """Plain data: for each count, milliseconds and KiB a pod."""
    work = Path(tempfile.mkdtemp())
    kcradle = Kcradle(work / "dense", staged, images)
    pods = [Steady.summon(kcradle, f"pod{number}", MEMORY_MIB) for number in range(max(counts))]
    result = [round_of(kcradle, pods[:count]) for count in counts]
    image = image_kib(pods[0][0])
    shutil.rmtree(work, ignore_errors=True)
    return {"memory MiB": MEMORY_MIB, "image KiB": image, "rounds": result}


def image_kib(pod):
    """What the files of a pod's image take of the page cache, all pods together."""
    disks = json.loads((pod / "pod.json").read_text())["disks"]
    files = {extent["path"] for disk in disks if disk["kind"] == "image" for extent in disk["extents"]}
    return sum(Path(file).stat().st_blocks for file in files) // 2


def round_of(kcradle, pods):
    """One after the other, each as soon as the one before has answered; all are read while all run, then all end."""
    before = free()
    start = time.monotonic()
    running, lost = [], []
    for pod, word in pods:
        steady = Steady(kcradle, pod, word)
        try:
            steady.answer()
            steady.check_filters()
            running.append(steady)
        except Failed as error:
            lost.append(str(error))
    took = 1000 * (time.monotonic() - start)
    for steady in running[-1:]:
        steady.rest()
    alive = [steady for steady in running if steady.process.poll() is None]
    found = [memory.split(steady.process.pid, MEMORY_MIB) for steady in alive]
    taken = before - free()
    print(f"{len(alive)} of {len(pods)} pods alive after {took:.0f} ms", file=sys.stderr, flush=True)
    for steady in running:
        steady.end()
    return {"pods": len(pods), "alive": len(alive), "lost": lost, "ms": took, "host KiB": taken} | {
        field: statistics.mean(one[field] for one in found) for field in FIELDS}


def free():
    """KiB of the host that nobody uses. Images are in memory before the pods start, one copy for all of them."""
    return int(Path("/proc/meminfo").read_text().split("MemFree:")[1].split()[0])


def render(density, unit):
    rows = []
    for one in density["rounds"]:
        count = one["pods"]
        rows.append([f"{count}", one["alive"], figure(one["ms"] / count)]
                    + [figure(one[field] / 1024) for field in FIELDS] + [figure(one["host KiB"] / 1024 / count)])
    reasons = [f"- lost: {reason}" for one in density["rounds"] for reason in one["lost"][:3]]
    most = density["rounds"][-1]
    each = most["host KiB"] / most["pods"] / 1024
    room = (PAPER_GIB - PAPER_RESERVE_GIB) * 1024
    return "\n\n".join([
        f"Pods of {density['memory MiB']} MiB that sleep, started one after the other; all figures a pod, memory in MiB.",
        "\n".join([table(["pods", "alive", unit, *FIELDS, "of the host"], rows), *reasons]),
        f"The image's {density['image KiB'] / 1024:.1f} MiB are in the host's page cache once for all pods.",
        f"On paper, a host of {PAPER_GIB} GiB of which {PAPER_RESERVE_GIB} are its own holds {room / each:.0f} such "
        f"pods at {each:.1f} MiB each, and {room // density['memory MiB']} if each used all that it was promised."])
