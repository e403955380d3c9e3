"""An image of fio, iperf3 and a shell, from the Debian packages of this machine, and the same files as an initramfs for
other machine monitors: what `network` and `disk` run in guests of every kind.

The initramfs leads to the same shell on the console's device that the image runs on standard input.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "images"))
from oci import Layout  # noqa: E402
from tree import Layer  # noqa: E402

TAG = "tools"
DATA = "data"  # a volume of the image: not below the overlay, and so a directory of a plain ext4
FOLDERS = ("usr", "usr/bin", "etc", "proc", "sys", "dev", "tmp", "root", DATA)
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
INIT = f"""#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
[ -e /dev/vda ] && mount -t ext4 -o noatime /dev/vda /{DATA}
ip link set lo up
[ "$address" ] && ip addr add "$address/24" dev eth0 && ip link set eth0 up
stty -F /dev/hvc0 raw -echo
# Through pipes: it would edit lines on a terminal.
sh </dev/hvc0 2>&1 | cat >/dev/hvc0
"""


def libraries(program):
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", told)


def files():
    """Name in the tree → file of this machine."""
    programs = {f"usr/bin/{name}": shutil.which(name) for name in ("busybox", "fio", "iperf3")}
    if missing := [name for name, path in programs.items() if not path]:
        sys.exit(f"bench: {', '.join(missing)} is missing: tests/install bench lab")
    found = {name: Path(path) for name, path in programs.items()}
    for path in {path for name in ("fio", "iperf3") for path in libraries(programs[f"usr/bin/{name}"])}:
        place = Path(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        found[str(place).lstrip("/")] = Path(path)
    return found


def make(folder):
    """Writes oci/, a layout with the image, and tools.cpio into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tar, found = folder / "tools.tar", files()
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    with Layer(tar) as layer:
        parents = {str(parent) for name in found for parent in Path(name).parents}
        for name in sorted(parents.union(FOLDERS) - {"."}):
            layer.folder(name, mode=0o1777 if name == "tmp" else 0o755)
        for name, target in LINKS.items():
            layer.symlink(name, target)
        for applet in sorted(set(applets) - {"busybox"}):
            layer.symlink(f"usr/bin/{applet}", "busybox")
        for name, path in sorted(found.items()):
            layer.add(name, path.read_bytes(), mode=0o755)
        layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layout = Layout(folder / "oci")
    config = {"Cmd": ["sh"], "Env": ["PATH=/usr/bin"], "Volumes": {f"/{DATA}": {}}}
    layout.tag(TAG, layout.image([layout.layer(tar, "none")], config))
    layout.close()
    initramfs(tar, folder)
    tar.unlink()


def initramfs(tar, folder):
    tree = folder / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-x", "--no-same-owner", "-f", tar, "-C", tree], check=True)
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True).stdout
    with open(folder / "tools.cpio", "wb") as archive:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=tree, check=True, input=names,
                       stdout=archive)
    shutil.rmtree(tree)
