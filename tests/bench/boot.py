"""Measures boots: kcradle in all the forms that have a target, and the peers, by turns in one run.

Runs on the machine with KVM, called by `run`. Answers plain data that report.py turns into tables: samples a subject,
counts a subject, memory, sizes, versions.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import memory
import peers
import registry
from counters import Counters, unavailable
from pods import MEMORY_MIB, Kcradle
from sample import Failed, Lost, take
from steady import Steady

DROPPED = 2  # the first rounds: caches fill in them
ROUNDS = int(os.environ.get("BENCH_ROUNDS") or (200 if os.environ.get("BENCH_ON_HOST") else 15))
VARIANTS = 2  # forms of a boot, whose figure is a difference, take part in every second round
MOST_LOST = 3  # runs of ours without an end: where QEMU is older than 8.1, the lab loses guests of several vCPUs (docs/lab.md)
NETWORK = "bench"
HEAVY = 4  # containers of peers take as long as ten boots: every fourth


class Subject:
    """Something that is measured in every n-th round: a command, what it has to answer, what to clear away after it."""

    def __init__(self, command, environment, code=0, output=b"", timeline=False, every=1, after=None):
        self.command, self.environment, self.timeline, self.every = command, environment, timeline, every
        self.code, self.output, self.after = code, output, after or (lambda: None)

    def once(self):
        sample = take(self.command, self.environment, self.code, self.output)
        said = sample.pop("stderr")
        if self.timeline:
            lines = json.loads(said.splitlines()[-1])
            sample["timeline"] = {line["stage"]: line["at"] for line in lines}
            sample["power-off"] = next(line["clock"] for line in lines if line["stage"] == "power-off")
        self.after()
        return sample


def shares(kcradle, count):
    """Flags for so many shared directories."""
    folders = [kcradle.work / f"shared{number}" for number in range(count)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return [word for number, folder in enumerate(folders) for word in ("-v", f"{folder}:/shared{number}")]


def connected(kcradle):
    """A network that another pod already is on, and flags for a place on it."""
    kcradle.call("network", "create", NETWORK)
    pod, word = Steady.summon(kcradle, "neighbour", MEMORY_MIB, ("--network", NETWORK))
    neighbour = Steady(kcradle, pod, word)
    neighbour.answer()
    return neighbour, ["--network", NETWORK]


def our_subjects(kcradle, images, network):
    """kcradle in all forms. The word and the code of the one that answers are new in every benchmark."""
    word, code = secrets.token_hex(8), 3 + secrets.randbelow(100)
    answer = ("sh", "-c", f"echo {word}; exit {code}")
    pod = kcradle.summon("pod", "true")
    kcradle.check_defaults(pod, "true")

    def subject(target, *flags, **told):
        return Subject(kcradle.run(target, *flags), kcradle.environment, **told)

    def variant(target, *flags, **told):
        return subject(target, *flags, every=VARIANTS, **told)

    # Not the images' own entry points, which prepare a server before the command.
    services = {name: variant(kcradle.summon(name, image=name, flags=("--entrypoint", "true")), "--timeline", "--json",
                              timeline=True) for name in ("debian", "nginx", "mariadb")}
    fresh = kcradle.work / "fresh"
    with registry.serve(images) as address:
        cached = f"{address}/busybox"
        kcradle.call("summon", "--quiet", fresh, cached, "true")
    kcradle.call("rm", fresh)
    return {
        "kcradle run": subject(pod),
        "kcradle output": subject(kcradle.summon("answer", *answer), code=code, output=f"{word}\n".encode()),
        "timeline": subject(pod, "--timeline", "--json", timeline=True),
        "4 GiB": variant(kcradle.summon("large", "true", memory=4096)),
        "4 vCPUs": variant(kcradle.summon("wide", "true", cpus=4)),
        "20 layers": variant(kcradle.summon("deep", "true", image="twenty")),
        "1 share": variant(kcradle.summon("shared", "true", flags=shares(kcradle, 1))),
        "2 shares": variant(kcradle.summon("shared2", "true", flags=shares(kcradle, 2))),
        "network": variant(kcradle.summon("net", "true", flags=network)),
        "network and 2 volumes": variant(kcradle.summon("full", "true", flags=(*network, "-v", "one:/one", "-v", "two:/two"))),
        **services,
        # The registry is gone: this is the store's.
        "summon": Subject([kcradle.binary, "summon", "--quiet", fresh, cached, "true"], kcradle.environment,
                          every=VARIANTS, after=lambda: kcradle.call("rm", fresh)),
        # What any program costs on this machine; not subtracted from anything.
        "kcradle --version": Subject(["sh", "-c", "exec \"$0\" --version >/dev/null", kcradle.binary],
                                     kcradle.environment, every=VARIANTS),
    }


def peer_subjects(ready):
    """A monitor has no container to ask; of the others one command gives the first byte and the end."""
    word = secrets.token_hex(8)
    return {name: Subject(peer.command(), peer.environment) if isinstance(peer, peers.Machine)
            else Subject(peer.command("echo", word), peer.environment, output=f"{word}\n".encode(), every=HEAVY)
            for name, peer in ready.items()}


def measure_rounds(subjects, not_run, ours, lost):
    """All subjects by turns. A peer that fails is out, with its reason; where kcradle fails there is no benchmark. Runs of
    ours that had no end are counted in `lost`."""
    samples = {name: [] for name in subjects}
    for number in range(DROPPED + ROUNDS):
        for name, subject in list(subjects.items()):
            if number % subject.every:
                continue
            try:
                sample = subject.once() | {"round": number}
            except Failed as error:
                if name in ours and isinstance(error, Lost) and sum(lost.values()) < MOST_LOST:
                    print(f"{name} is lost in this round: {error}", file=sys.stderr)
                    lost[name] = lost.get(name, 0) + 1
                    continue
                if name in ours:
                    sys.exit(f"bench: {name}: {error}")
                print(f"{name} is out: {error}", file=sys.stderr)
                not_run[name] = str(error)[-400:]
                del subjects[name], samples[name]
                continue
            if number >= DROPPED:
                samples[name].append(sample)
        print(f"round {number + 1} of {DROPPED + ROUNDS}", file=sys.stderr, flush=True)
    return samples


def count(subjects, lost):
    """One more run of each, counted; why not, where nothing can be counted. One that has no end is in `lost`, as above."""
    if reason := unavailable():
        return {"not counted": reason}
    counts = {}
    for name, subject in subjects.items():
        with Counters() as counters:
            try:
                take(subject.command, subject.environment, subject.code, subject.output)
            except Lost:
                lost[name] = lost.get(name, 0) + 1
                continue
        subject.after()
        counts[name] = counters.result
    return counts


def measure_steady(kcradle, samples):
    """Memory of a pod at rest, filters in every thread, and the Docker socket where the pod has one."""
    pod, word = Steady.summon(kcradle, "steady", MEMORY_MIB)
    steady = Steady(kcradle, pod, word)
    steady.answer()
    steady.check_filters()
    steady.rest()
    resident = memory.split(steady.process.pid, MEMORY_MIB) | {"guest inside": steady.used_inside(MEMORY_MIB)}
    has_socket = steady.socket.exists()
    steady.end()
    for number in range(DROPPED + ROUNDS if has_socket else 0):
        steady = Steady(kcradle, pod, word)
        pinged = steady.ping()
        steady.answer()
        steady.end()
        if number >= DROPPED:
            samples.setdefault("docker.sock", []).append({"first": pinged})
    return resident


def sizes(kcradle, resident):
    """MiB: of files, and of the memory of a pod at rest as measure_steady() found it."""
    return {"kcradle": kcradle.binary.stat().st_size / 2**20,
            "guest-init": member_size(kcradle.package / "initramfs", "init") / 2**20,
            "VMM memory": resident["vmm"] / 1024, "guest memory": resident["guest"] / 1024,
            "guest memory inside": resident["guest inside"] / 1024}


def member_size(archive, wanted):
    """The size of a file in an archive of cpio(5)'s newc format."""
    content, place = archive.read_bytes(), 0
    while place < len(content):
        size, name_size = (int(content[place + start:place + start + 8], 16) for start in (54, 94))
        name = content[place + 110:place + 110 + name_size].split(b"\0")[0].decode()
        if name == wanted:
            return size
        place = -(-(place + 110 + name_size) // 4) * 4 + -(-size // 4) * 4
    sys.exit(f"bench: {archive} has no {wanted}")


def measure(staged, images):
    """All of it, as plain data, of the kcradle and package in the folder `staged`."""
    work = Path(tempfile.mkdtemp())  # in the lab's memory; it goes with the lab
    kcradle = Kcradle(work / "ours", staged, images)
    ready, not_run = peers.make_ready(work, kcradle.package, images)
    neighbour, network = connected(kcradle)
    ours = our_subjects(kcradle, images, network)
    subjects = ours | peer_subjects(ready)
    lost = {}
    samples = measure_rounds(subjects, not_run, set(ours), lost)
    counts = count(subjects, lost)
    neighbour.end()
    resident = measure_steady(kcradle, samples)
    result = {"rounds": ROUNDS, "dropped": DROPPED, "samples": samples, "peers": list(ready), "counts": counts,
              "memory": resident, "sizes": sizes(kcradle, resident), "not run": not_run, "lost": lost,
              "versions": {name: peer.version for name, peer in ready.items()} | {
                  "kernel of the host": os.uname().release,
                  "runtime package": json.loads((kcradle.package / "cradle.json").read_text())["kernel"]["release"],
                  "kcradle": kcradle.call("--version").strip(),
                  "qemu": subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True,
                                         text=True).stdout.splitlines()[0]}}
    shutil.rmtree(work, ignore_errors=True)
    return result
