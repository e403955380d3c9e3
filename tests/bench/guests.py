"""Guests that are told what to do by a shell: a pod of kcradle, and QEMU's microvm with the same kernel and programs.

Both read commands from their standard input. What a command costs is told in processor time of the whole machine, in
lab ms, a million instructions each.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import memory
from peers import Qemu
from tools import TAG

PATIENCE = 300  # seconds for one command
PEER = "QEMU"


class Guest:
    """A running guest; `words` is the command that starts it."""

    def __init__(self, name, words, environment):
        self.name, self.log = name, os.memfd_create("errors")
        self.process = subprocess.Popen([str(word) for word in words], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)
        self.do("true")

    def do(self, command):
        """Runs a command of the guest's shell and answers what it wrote; the benchmark ends where it fails."""
        mark = secrets.token_hex(8)
        # Two words, so that a terminal's echo of them is not taken for the end.
        self.process.stdin.write(f"{command} </dev/null\necho end-$? '{mark[:8]}''{mark[8:]}'\n".encode())
        self.process.stdin.flush()
        text = b""
        signal.signal(signal.SIGALRM, lambda *_: self.fail(f"{command}: no end", text))
        signal.alarm(PATIENCE)
        while True:
            line = self.process.stdout.readline()
            if not line:
                self.fail(f"{command}: ended", text)
            before, _, told = line.rstrip(b"\r\n").rpartition(b"end-")
            if told.endswith(mark.encode()):
                signal.alarm(0)
                if told.split()[0] != b"0":
                    self.fail(f"{command}: status {told.split()[0].decode()}", text)
                return (text + before).decode(errors="replace")
            text += line

    def fail(self, why, text):
        said = os.pread(self.log, 1 << 16, 0)
        sys.exit(f"bench: {self.name}: {why}: {(text + said).decode(errors='replace')[-3000:]}")

    def told(self, command):
        """The JSON document that a command writes."""
        text = self.do(command)
        try:
            return json.JSONDecoder().raw_decode(text, text.index("{"))[0]
        except ValueError:
            self.fail(f"{command}: no document", text.encode())

    def end(self):
        self.process.kill()
        self.process.wait()


def pod(kcradle, tools, name, memory_mib, flags=()):
    """A pod of the tools' image, and the words that run it."""
    place = kcradle.work / name
    kcradle.call("summon", "--quiet", "--memory", f"{memory_mib}m", "-i", *flags, place, f"oci:{tools}/oci:{TAG}", "sh")
    return place


def run_pod(kcradle, place):
    guest = Guest(place.name, kcradle.run(place), kcradle.environment)
    if open_threads := memory.unfiltered_threads(guest.process.pid):
        sys.exit(f"bench: {place}: threads without a system call filter: {', '.join(open_threads)}")
    return guest


class Machine(Qemu):
    """QEMU's microvm with the kernel of a package and the tools as its initramfs."""

    def __init__(self, work, package, tools):
        work.mkdir(parents=True)
        super().__init__(work, package, None)
        self.initramfs = tools / "tools.cpio"

    def start(self, name, memory_mib, devices, variables=""):
        words = self.command()
        words[words.index("-m") + 1] = memory_mib
        # What the kernel does not know is its first program's environment.
        words[words.index("-append") + 1] = f"quiet loglevel=1 panic=-1 reboot=t rdinit=/init {variables}"
        words += ["-global", "virtio-mmio.force-legacy=false",  # the form of virtio that kcradle has
                  "-chardev", "stdio,id=shell,signal=off", "-device", "virtio-serial-device",
                  "-device", "virtconsole,chardev=shell", *devices]
        return Guest(name, words, self.environment)


def idle():
    """Milliseconds in which this machine had nothing to do: a count of ticks of 10."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(field) for field in fields[3:5]) * 1000 / os.sysconf("SC_CLK_TCK")


def measured(action):
    """What the action answers, and its elapsed time, all of it and what was not idle."""
    time.sleep(0.3)
    before, start = idle(), time.monotonic()
    answer = action()
    wall = (time.monotonic() - start) * 1000
    return answer, {"busy": wall - (idle() - before), "wall": wall}
