"""The layers of the `edge` image: every odd thing that a layer can hold.

Used by ./make. The image must come out of the converter and the kernel's mount as `tar -x` makes it.
"""

import tarfile

from tree import Layer

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
ACL = bytes.fromhex("0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff")


def _lower(path, busybox):
    with Layer(path) as layer:
        for name in ("bin", "etc", "dev", "keep", "opaque", "opaque/deep", "gone", "becomes-file", "sub", "sticky"):
            layer.folder(name, mode=0o1777 if name == "sticky" else 0o755)
        layer.folder("owned", mode=0o2750, owner=(33, 4_000_000_000))
        layer.add("bin/busybox", busybox, mode=0o755)
        layer.add("bin/capable", b"#!/bin/sh\n", mode=0o755, xattrs={"security.capability": CAPABILITY})
        layer.add("bin/suid", b"x", mode=0o4755)
        layer.add("bin/sgid", b"x", mode=0o2755)
        layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        layer.add("keep/replaced", b"lower\n")
        layer.add("keep/deleted", b"x")
        layer.add("keep/attributed", b"u", xattrs={"user.note": b"hello", "user.binary": bytes(range(128, 160))})
        layer.add("keep/many-attributes", b"u", xattrs={f"user.n{n:03}": b"v" * n for n in range(1, 40)})
        layer.add("keep/acl", b"u", mode=0o674, xattrs={"system.posix_acl_access": ACL})
        layer.add("opaque/deep/old", b"old")
        layer.add("opaque/old", b"old")
        layer.add("gone/file", b"z")
        layer.add("becomes-file/file", b"z")
        layer.add("link-1", b"hard link\n")
        layer.add("link-2", kind=tarfile.LNKTYPE, link="link-1")
        layer.add("sub/link-3", kind=tarfile.LNKTYPE, link="./link-1")
        layer.folder("devices")
        layer.add("devices/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666)
        layer.add("devices/loop0", kind=tarfile.BLKTYPE, device=(7, 0), mode=0o660)
        layer.add("devices/big", kind=tarfile.CHRTYPE, device=(4095, 70_000), mode=0o600)
        layer.add("fifo", kind=tarfile.FIFOTYPE)
        layer.symlink("symlink", "keep/replaced")
        layer.symlink("long-symlink", "x" * 300)
        layer.symlink("dangling", "/nowhere")
        layer.symlink("folder-link", "keep")
        layer.add("folder-link/through-link", b"inside keep\n")
        layer.add("big-owner", b"x", owner=(4_000_000_000, 3_000_000))
        layer.add("nanoseconds", b"x", mtime="1700000000.123456789")
        layer.add("before-1970", b"x", mtime="-1.5")
        layer.add("after-2106", b"x", mtime="5000000000.5")
        layer.add("ütf-8-é", b"x")
        layer.add("raw-\udcff-byte", b"x")
        layer.add("new\nline", b"x")
        layer.add("n" * 255, b"x")
        layer.add("/".join(["path" * 20] * 12), b"deep")
        layer.add("no-parent/x/y", b"x")
        layer.add("twice", b"first")
        layer.add("twice", b"second and last")
        layer.add("empty")
        layer.add("tail", b"q" * 5000)
        layer.add("block", b"b" * 4096)
        layer.add("megabyte", bytes(range(256)) * 4096)


def _upper(path):
    with Layer(path) as layer:
        layer.folder("keep", mode=0o700)
        layer.add("keep/.wh.deleted")
        layer.add("keep/replaced", b"upper\n")
        layer.folder("opaque")
        layer.add("opaque/.wh..wh..opq")
        layer.add("opaque/new", b"new")
        layer.add(".wh.gone")
        layer.add(".wh.becomes-file")
        layer.add("becomes-file", b"now a file")
        layer.add(".wh.link-2")
        layer.add("into-lower/file", b"implicit parent\n")


def _sparse(path):
    """Files with holes, in GNU tar's PAX form 1.0. Not by GNU tar, which puts its process id into the archive."""
    page = 4096
    with Layer(path) as layer:
        layer.sparse("sparse", 3 << 30, [(0, b"start".ljust(page, b"\0")), (1 << 30, b"middle".ljust(page, b"\0")),
                                         ((3 << 30) - page, b"END".rjust(page, b"\0"))])
        layer.sparse("hole", 1 << 40, [(1 << 40, b"")])


def layers(work, busybox):
    """Writes the layers' tar files, lowest first, and returns their paths."""
    paths = [work / f"edge-{name}.tar" for name in ("lower", "upper", "sparse")]
    _lower(paths[0], busybox)
    _upper(paths[1])
    _sparse(paths[2])
    return paths
