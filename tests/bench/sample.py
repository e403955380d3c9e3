"""One measured run of a command: wall and processor time, when its first byte of output came, and that it did what it
should. Every benchmark times through here; times are milliseconds, which in the instruction-counted lab are lab ms."""

import os
import signal
import time


LIMIT = 10  # seconds after which a run has no end: ten times what the slowest takes
SETTLE = 0.05  # seconds in which the run before may end what it left to threads of the kernel


class Failed(Exception):
    """A run that was not what it claims to be, so that its time means nothing."""


class Lost(Failed):
    """A run that had no end."""


def take(command, environment, code=0, output=b""):
    """Runs a command from exec to exit. Raises Lost unless it ends, Failed unless it ends with this code and wrote exactly
    this."""
    reader, writer = os.pipe()
    errors = os.memfd_create("stderr")
    words = [str(word) for word in command]
    pid, late = None, []

    def kill(*_):
        late.append(pid)
        os.kill(pid, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, kill)
    time.sleep(SETTLE)
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, errors, 2)]
    try:
        # posix_spawn and not subprocess: what Python does between the two clocks counts as well.
        start = time.monotonic_ns()
        pid = os.posix_spawnp(words[0], words, environment, file_actions=actions)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        os.close(writer)
        writer = None
        written = os.read(reader, 1 << 16)
        first = time.monotonic_ns()
        _, status, usage = os.wait4(pid, 0)
        end = time.monotonic_ns()
        signal.setitimer(signal.ITIMER_REAL, 0)
        while more := os.read(reader, 1 << 16):
            written += more
        said = os.pread(errors, 1 << 20, 0).decode(errors="replace")
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        for descriptor in (reader, writer, errors):
            if descriptor is not None:
                os.close(descriptor)
    if late:
        raise Lost(f"{' '.join(words)}: no end after {LIMIT} s: {said.strip()}")
    ended = os.waitstatus_to_exitcode(status)
    if ended != code:
        raise Failed(f"{' '.join(words)}: ended with {ended}, not {code}: {said.strip()}")
    if written != output:
        raise Failed(f"{' '.join(words)}: wrote {written!r}, not {output!r}")
    return {"wall": (end - start) / 1e6, "cpu": 1000 * (usage.ru_utime + usage.ru_stime),
            "first": (first - start) / 1e6 if output else None, "faults": usage.ru_minflt, "end": end / 1e6,
            "stderr": said}
