"""Layers as tar files: written entry by entry, or as the difference between two whole trees.

Used by ./make and ./edge.py. Trees are never unpacked, so no root rights are needed to make any owner,
device or extended attribute.
"""

import hashlib
import io
import os
import tarfile

from oci import EPOCH


class Layer:
    """A tar file being written."""

    def __init__(self, path):
        self.path = path
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tar.close()

    def add(self, name, data=b"", *, mode=0o644, kind=tarfile.REGTYPE, owner=(0, 0), link="", device=(0, 0),
            mtime=None, xattrs=None, headers=None):
        entry = tarfile.TarInfo(name)
        entry.pax_headers.update(headers or {})
        entry.type, entry.mode, entry.linkname = kind, mode, link
        entry.uid, entry.gid = owner
        entry.devmajor, entry.devminor = device
        entry.mtime = EPOCH
        if mtime is not None:
            entry.pax_headers["mtime"] = mtime
        for key, value in (xattrs or {}).items():
            entry.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        if kind == tarfile.REGTYPE:
            entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data) if kind == tarfile.REGTYPE else None)

    def sparse(self, name, size, extents):
        """A file of `size` bytes that is zeros but for `extents`, pairs of offset and data."""
        numbers = [len(extents), *(number for offset, data in extents for number in (offset, len(data)))]
        table = "".join(f"{number}\n" for number in numbers).encode()
        data = table.ljust(-(-len(table) // 512) * 512, b"\0") + b"".join(data for _, data in extents)
        self.add(f"GNUSparseFile.0/{name}", data, headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                                           "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)})

    def folder(self, name, mode=0o755, owner=(0, 0)):
        self.add(name + "/", kind=tarfile.DIRTYPE, mode=mode, owner=owner)

    def symlink(self, name, target):
        self.add(name, kind=tarfile.SYMTYPE, mode=0o777, link=target)


def _identity(entry, content):
    """What makes an entry of two trees the same entry."""
    headers = {key: value for key, value in entry.pax_headers.items() if "xattr" in key}
    mtime = None if entry.isdir() else int(entry.mtime)
    return (entry.type, entry.mode, entry.uid, entry.gid, entry.linkname, entry.size, mtime,
            entry.devmajor, entry.devminor, sorted(headers.items()), content)


def _tree(path):
    """The entries of a tar file by name, with their identity."""
    entries = {}
    with tarfile.open(path) as tar:
        for entry in tar:
            content = hashlib.sha256(tar.extractfile(entry).read()).digest() if entry.isreg() else b""
            entries[entry.name.removeprefix("./")] = _identity(entry, content)
    return entries


def difference(base, whole, out):
    """Writes the layer that turns the tree `base` into the tree `whole` (both tar files), as a build step would."""
    before, after = _tree(base), _tree(whole)
    keep = {name for name, identity in after.items() if before.get(name) != identity}
    removed = [name for name in before if name not in after and os.path.dirname(name) in after | {"": None}]
    for name in list(keep) + removed:
        while name := os.path.dirname(name):
            keep.add(name)
    with tarfile.open(whole) as tar:
        keep |= {e.linkname.removeprefix("./") for e in tar if e.islnk() and e.name.removeprefix("./") in keep}
    with Layer(out) as layer, tarfile.open(whole) as tar:
        for name in sorted(removed):
            layer.add(os.path.join(os.path.dirname(name), ".wh." + os.path.basename(name)))
        for entry in tar:
            name = entry.name.removeprefix("./")
            if name not in keep:
                continue
            entry.name, entry.uname, entry.gname = name, "", ""
            entry.linkname = entry.linkname.removeprefix("./") if entry.islnk() else entry.linkname
            entry.pax_headers = {k: v for k, v in entry.pax_headers.items() if "xattr" in k}
            entry.mtime = int(entry.mtime)
            layer.tar.addfile(entry, tar.extractfile(entry) if entry.isreg() else None)
