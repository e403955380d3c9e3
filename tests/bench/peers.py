"""The programs that kcradle is compared with, their command lines with a reason a flag, and how they are made ready.

QEMU microvm boots our kernel with an initramfs whose first program resets the machine: no disk, no container, so the
least that a machine monitor can do. `BENCH_VMM_CMD` names any other monitor that does the same. podman runs the image
as a container on the host's kernel, microsandbox in a machine of its own. One that cannot run here says why.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from pods import MEMORY_MIB, blob, manifest

# quiet as in kcradle; a triple fault is the reset that needs no device; nothing is left after it (panic=-1)
COMMAND_LINE = "quiet loglevel=1 panic=-1 reboot=t rdinit=/bin/busybox -- reboot -f"


class NotRun(Exception):
    """Why a peer cannot run here."""


def call(*command, **options):
    words = [str(word) for word in command]
    try:
        run = subprocess.run(words, capture_output=True, text=True, timeout=300, **options)
    except OSError as error:
        raise NotRun(f"{words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"{' '.join(words[:3])}: no end after 300 s") from error
    if run.returncode:
        raise NotRun(f"{' '.join(words[:3])}: {(run.stderr + run.stdout).strip()[-300:]}")
    return run.stdout


class Machine:
    """A monitor that boots a kernel and an initramfs; its version and its command for nothing but boot and end."""

    def __init__(self, work, package):
        self.work, self.kernel, self.initramfs = work, package / "vmlinux", work / "power-off.cpio"
        tree = work / "tree"
        (tree / "bin").mkdir(parents=True)
        shutil.copy2(shutil.which("busybox"), tree / "bin/busybox")
        archive = subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc"], cwd=tree, check=True,
                                 input=b"bin\0bin/busybox\0", stdout=subprocess.PIPE).stdout
        self.initramfs.write_bytes(archive)
        self.environment = dict(os.environ)


class Qemu(Machine):
    name = "qemu microvm"

    def __init__(self, work, package, _images):
        super().__init__(work, package)
        self.version = call("qemu-system-x86_64", "--version").splitlines()[0]

    def command(self):
        return ["qemu-system-x86_64",
                # no legacy devices that this kernel has no driver for; a reset of the guest ends QEMU
                "-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=off,acpi=off", "-no-reboot",
                "-accel", "kvm", "-cpu", "host",
                "-nodefaults", "-no-user-config", "-display", "none",  # nothing that was not asked for
                "-m", MEMORY_MIB, "-smp", "1",                         # as kcradle's pod
                "-kernel", self.kernel,                                # the same kernel, entered through PVH
                "-initrd", self.initramfs,
                "-append", COMMAND_LINE]


class OtherMonitor(Machine):
    """What BENCH_VMM_CMD says, with {kernel} {initramfs} {command_line} {memory_mib} {vcpus} filled in."""
    name = "BENCH_VMM_CMD"

    def __init__(self, work, package, _images):
        template = os.environ.get("BENCH_VMM_CMD")
        if not template:
            raise NotRun("BENCH_VMM_CMD is not set")
        super().__init__(work, package)
        values = {"kernel": self.kernel, "initramfs": self.initramfs, "command_line": COMMAND_LINE,
                  "memory_mib": MEMORY_MIB, "vcpus": 1}
        self.words = [word.format(**values) for word in shlex.split(template)]
        program = shutil.which(self.words[0])
        if not program:
            raise NotRun(f"{self.words[0]} is not there")
        self.words[0] = shutil.copy2(program, work / Path(program).name)  # in memory, as the others
        self.version = template

    def command(self):
        return self.words


class Podman:
    name = "podman run"

    def __init__(self, work, _package, images):
        self.work, self.environment = work, dict(os.environ)
        self.version = call("podman", "--version").strip() + ", " + call("crun", "--version").splitlines()[0]
        archive = shutil.copy2(images / "busybox.docker.tar", work / "busybox.tar")
        call(*self.engine(), "load", "-q", "-i", archive)
        found = call(*self.engine(), "image", "inspect", "--format", "{{.Id}}", "busybox:latest").strip()
        check_image(self.name, found, images)

    def engine(self):
        return ["podman",
                "--root", self.work / "podman", "--runroot", self.work / "podman-run",  # in memory
                "--storage-driver", "overlay",      # its default, and its fastest
                "--cgroup-manager", "cgroupfs",     # the lab has no systemd
                "--events-backend", "none",         # no journal to write to
                "--runtime", "crun"]                # the faster of Debian's two runtimes

    def command(self, *container):
        return [*self.engine(), "run", "--rm",
                "--network=none",            # as kcradle's pod today
                "--log-driver=none",         # kcradle writes no log of the output either
                "--pull=never", "docker.io/library/busybox:latest", *container]


class Microsandbox:
    name = "microsandbox"

    def __init__(self, work, _package, images):
        program = os.environ.get("BENCH_MSB")
        if not program:
            raise NotRun("it is not installed: tests/install bench")
        bundle = Path(program).resolve().parent.parent
        shutil.copytree(bundle, work / "bundle")  # msb finds ../lib/libkrunfw beside itself
        self.msb = work / "bundle/bin/msb"
        disk = work if os.environ.get("BENCH_ON_HOST") else self.disk(work)
        # all of its state on that disk; nothing of the user's
        self.environment = os.environ | {"HOME": str(disk), "MSB_HOME": str(disk / "msb")}
        self.version = self.tool("--version").strip()
        archive = shutil.copy2(images / "busybox.docker.tar", work / "busybox.tar")
        self.tool("load", "--quiet", "--input", archive, "--tag", "busybox:latest")
        layers = blob(images, manifest(images, "busybox")["config"]["digest"])["rootfs"]["diff_ids"]
        told = self.tool("image", "inspect", "busybox:latest")
        if not all(layer[:len("sha256:") + 12] in told for layer in layers):
            sys.exit(f"bench: {self.name} has another image: {told}")
        self.warm_up()

    @staticmethod
    def disk(work):
        """It wants a writable disk that is no tmpfs: an ext4 file, in memory, mounted through a loop device."""
        image, disk = work / "disk.ext4", work / "disk"
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(4 << 30)
        call("mkfs.ext4", "-q", image)
        call("mount", "-o", "loop", image, disk)
        return disk

    def warm_up(self):
        """Its first run asks its own runtime what it can and may give up on the answer; a later one does not."""
        for attempt in range(3):
            try:
                return call(*self.command("true"), env=self.environment)
            except NotRun:
                if attempt == 2:
                    raise

    def tool(self, *arguments):
        return call(self.msb, *arguments, env=self.environment)

    def command(self, *container):
        return [self.msb, "run",
                "--memory", f"{MEMORY_MIB}M", "--cpus", "1",  # as kcradle's pod
                "--no-net",                                   # as kcradle's pod today
                "--no-tty", "--no-stdin",                     # standard streams as kcradle's
                "--quiet", "--pull", "never",                 # no progress, no registry
                "busybox:latest", "--", *container]


def check_image(name, found, images):
    """The digest of the image's configuration is its identity where a program does not keep manifests."""
    wanted = manifest(images, "busybox")["config"]["digest"].removeprefix("sha256:")
    if found.removeprefix("sha256:") != wanted:
        sys.exit(f"bench: {name} has the image {found}, not {wanted}")


def make_ready(work, package, images):
    """The peers that can run here, and why each of the others cannot."""
    ready, not_run = {}, {}
    for number, kind in enumerate((Qemu, Podman, Microsandbox, OtherMonitor)):
        place = work / f"peer{number}"
        place.mkdir(parents=True)
        try:
            ready[kind.name] = kind(place, package, images)
        except NotRun as error:
            not_run[kind.name] = str(error)
    return ready, not_run
