"""Where the memory of a running machine monitor is, from /proc/PID/smaps: its guest's RAM and the rest.

Used by boot.py and density. RAM is the private mapping without reserve that is as large as the guest was promised,
with whatever the monitor mapped over parts of it (the kernel's file): its VMAs lie side by side.
"""

import re
from pathlib import Path


class Unclear(Exception):
    """The guest's RAM cannot be told from the monitor's own memory."""


def mappings(pid):
    """Each mapping of a process: its addresses, its path and its fields in KiB."""
    found = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)", line):
            found.append({"start": int(head[1], 16), "end": int(head[2], 16), "path": head[3], "flags": []})
        elif field := re.match(r"(\w+): +(\d+) kB", line):
            found[-1][field[1]] = int(field[2])
        elif line.startswith("VmFlags:"):
            found[-1]["flags"] = line.split()[1:]
    return found


def guest_ram(found, mib):
    """The mappings that lie side by side in the guest's RAM. Raises Unclear unless they add up to `mib` MiB."""
    largest = max((m for m in found if not m["path"].startswith("/")), key=lambda m: m["end"] - m["start"])
    place = found.index(largest)

    def belongs(mapping):
        return "nr" in mapping["flags"] or mapping["path"].endswith(("/vmlinux", "/initramfs"))

    first = last = place
    while first and found[first - 1]["end"] == found[first]["start"] and belongs(found[first - 1]):
        first -= 1
    while last + 1 < len(found) and found[last + 1]["start"] == found[last]["end"] and belongs(found[last + 1]):
        last += 1
    ram = found[first:last + 1]
    size = sum(m["end"] - m["start"] for m in ram) >> 20
    if size != mib:
        raise Unclear(f"mappings of {size} MiB look like the guest's RAM, not {mib} MiB")
    return ram


def split(pid, mib):
    """KiB of a monitor and its guest: resident, and proportional (what is shared is divided by its sharers)."""
    found = mappings(pid)
    ram = guest_ram(found, mib)
    own = [m for m in found if m not in ram]
    total = lambda which, field: sum(m.get(field, 0) for m in which)  # noqa: E731
    return {"guest": total(ram, "Rss"), "guest shared": total(ram, "Rss") - total(ram, "Anonymous"),
            "guest proportional": total(ram, "Pss"),
            "vmm": total(own, "Rss"), "vmm private": total(own, "Anonymous"),
            "vmm files": total(own, "Rss") - total(own, "Anonymous"), "vmm proportional": total(own, "Pss")}


def unfiltered_threads(pid):
    """The threads of a process without a system call filter."""
    threads = {path.name: path.joinpath("status").read_text() for path in Path(f"/proc/{pid}/task").iterdir()}
    return [f"{number} ({status.split()[1]})" for number, status in threads.items()
            if not re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)]
