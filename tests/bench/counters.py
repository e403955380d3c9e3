"""What a run costs that lab ms hide, counted by the host's kernel: exits by reason, system calls, bytes.

Used by boot.py in a run of its own beside the timed ones. What is counted is everything that happens on the machine
between start and end but for the benchmark's own process, so the work of kernel threads and daemons is in it.

- zeroed: pages that the kernel handed out zeroed (__GFP_ZERO), and huge pages of anonymous memory, which it zeroes too
- copied: what read(2), write(2) and their kin moved, as they returned it
- filled: movable pages handed out unzeroed, which a copy fills: copy on write, page cache, tmpfs
- kernel threads: milliseconds that they worked, up to SETTLE after the end: what a program leaves to them
Copies that programs and guests make in their own memory are not seen by the host's kernel and not counted.
"""

import os
import re
import time
from pathlib import Path

EVENTS = Path("/sys/kernel/tracing/events")
# Exit codes: AMD APM volume 2, appendix C; Intel SDM volume 3, appendix C. Keyed by the field `isa` of kvm_exit.
SVM = {0x400: "nested faults", 0x7b: "port I/O", 0x7c: "MSRs", 0x72: "CPUID", 0x78: "halts", 0x60: "interrupts"}
VMX = {48: "nested faults", 30: "port I/O", 31: "MSRs", 32: "MSRs", 10: "CPUID", 12: "halts", 1: "interrupts",
       49: "nested faults"}
EXITS = [*SVM.values(), "other exits"]
# System calls whose result is a number of bytes moved (x86-64).
MOVERS = {"read": 0, "write": 1, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "sendfile": 40,
          "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "splice": 275, "preadv": 295, "pwritev": 296,
          "copy_file_range": 326, "preadv2": 327, "pwritev2": 328}
PAGE = 4096
SETTLE = 0.1  # seconds
HUGE_ORDER = 9


class Counters:
    """Histograms in the host's kernel, on while the `with` block runs; `result` holds the counts afterwards."""

    def __enter__(self):
        others = f"common_pid != {os.getpid()}"
        moved = " || ".join(f"id == {number}" for number in MOVERS.values())
        self.triggers = {
            "kvm/kvm_exit": "hist:keys=isa,exit_reason",
            "raw_syscalls/sys_enter": f"hist:keys=id:size=1024 if {others}",
            "raw_syscalls/sys_exit": f"hist:keys=id:vals=ret if {others} && ret > 0 && ({moved})",
            "kmem/mm_page_alloc": f"hist:keys=gfp_flags,order if {others}",
            "sched/sched_stat_runtime": "hist:keys=pid:vals=runtime",
        }
        for event, trigger in self.triggers.items():
            (EVENTS / event / "trigger").write_text(trigger)
        return self

    def __exit__(self, *_):
        time.sleep(SETTLE)
        found = {}
        for event, trigger in self.triggers.items():
            found[event] = list(rows((EVENTS / event / "hist").read_text()))
            (EVENTS / event / "trigger").write_text("!" + trigger)
        self.result = exits(found["kvm/kvm_exit"])
        self.result["system calls"] = sum(row["hitcount"] for row in found["raw_syscalls/sys_enter"])
        self.result |= pages(found["kmem/mm_page_alloc"])
        self.result["kernel threads ms"] = round(sum(row["runtime"] for row in found["sched/sched_stat_runtime"]
                                                     if is_kernel_thread(row["pid"])) / 1e6, 1)
        self.result["copied KiB"] = sum(row["ret"] for row in found["raw_syscalls/sys_exit"]) // 1024


def rows(text):
    """The rows of a histogram as field → number."""
    for keys, values in re.findall(r"^\{(.*)\}(.*)$", text, re.MULTILINE):
        yield {name: int(value, 0) for name, value in re.findall(r"(\w+): +(-?\w+)", keys + values)}


def is_kernel_thread(pid):
    """Whether it lives and has no memory of its own."""
    try:
        return Path(f"/proc/{pid}/statm").read_text().startswith("0 ")
    except OSError:
        return False


def exits(counted):
    result = dict.fromkeys(EXITS, 0)
    for row in counted:
        names = VMX if row["isa"] == 1 else SVM
        result[names.get(row["exit_reason"], "other exits")] += row["hitcount"]
    return result


def pages(counted):
    text = (EVENTS / "kmem/mm_page_alloc/format").read_text()
    zero, movable = (1 << int(re.search(rf'<< \((\d+)\)[^"]*"__GFP_{name}"', text)[1]) for name in ("ZERO", "MOVABLE"))
    zeroed = filled = 0
    for row in counted:
        size = (PAGE << row["order"]) * row["hitcount"]
        if row["gfp_flags"] & zero or (row["gfp_flags"] & movable and row["order"] == HUGE_ORDER):
            zeroed += size
        elif row["gfp_flags"] & movable:
            filled += size
    return {"zeroed KiB": zeroed // 1024, "filled KiB": filled // 1024}


def unavailable():
    """Why nothing can be counted here, or None."""
    if not os.access(EVENTS / "kvm/kvm_exit/trigger", os.W_OK):
        return "needs root and tracefs with histograms"
    return None
