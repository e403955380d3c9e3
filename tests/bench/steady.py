"""A pod that has started and waits, seen from outside: its memory, its filters, its Docker socket, and a clean end."""

import re
import secrets
import signal
import socket
import subprocess
import time

import memory
from sample import Failed

REST = 2  # seconds from a pod's start until it is at rest: the machine monitor has given back what starting took
PATIENCE = 10  # seconds for an answer on a socket
CONTAINER = "cat /proc/meminfo; echo {word}; exec sleep 100000"


class Steady:
    """A running pod of a container that prints the guest's memory, a word nobody can guess, and sleeps."""

    def __init__(self, kcradle, pod, word):
        self.kcradle, self.pod, self.word, self.report = kcradle, pod, word, ""
        self.started = time.monotonic_ns()
        self.process = subprocess.Popen([str(part) for part in kcradle.run(pod)], env=kcradle.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)

    @classmethod
    def summon(cls, kcradle, name, memory_mib, flags=()):
        """A pod to be started any number of times, and its word."""
        word = secrets.token_hex(8)
        return kcradle.summon(name, "sh", "-c", CONTAINER.format(word=word), memory=memory_mib, flags=flags), word

    def answer(self):
        """Waits for the word; answers the milliseconds from the start to it."""
        while (line := self.process.stdout.readline()) and line.strip() != self.word:
            self.report += line
        if not line:
            raise Failed(f"{self.pod} ended before it answered: {self.process.stderr.read().strip()}")
        return (time.monotonic_ns() - self.started) / 1e6

    def check_filters(self):
        if open_threads := memory.unfiltered_threads(self.process.pid):
            raise Failed(f"{self.pod}: threads without a system call filter: {', '.join(open_threads)}")

    def rest(self):
        """Waits until the pod is at rest."""
        time.sleep(max(0, REST - (time.monotonic_ns() - self.started) / 1e9))

    def used_inside(self, mib):
        """KiB of the guest's memory that its kernel does not count as free."""
        return (mib << 10) - int(re.search(r"MemFree: +(\d+) kB", self.report)[1])

    @property
    def socket(self):
        return self.pod / "docker.sock"

    def ping(self):
        """Milliseconds from the start to a 200 on /_ping, asked as soon as somebody listens."""
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(str(self.socket)):
                if self.process.poll() is not None:
                    raise Failed(f"{self.pod} ended before docker.sock answered")
                time.sleep(0.0005)
            client.settimeout(PATIENCE)
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
            try:
                head = client.recv(1 << 12)
            except TimeoutError:
                head = b""
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(f"{self.pod}: /_ping answered {head[:80]!r}")
        return (time.monotonic_ns() - self.started) / 1e6

    def end(self):
        """Kills the container as Docker would; the pod has to end with 128 + SIGKILL and leave no process."""
        self.kcradle.call("stop", "-t", "0", self.pod)
        said = self.process.communicate()[1]
        if self.process.returncode != 128 + signal.SIGKILL:
            raise Failed(f"{self.pod}: ended with {self.process.returncode} after its stop: {said}")
