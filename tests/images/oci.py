"""An OCI image layout on disk (image-spec 1.1): blobs, layers, configurations, manifests, the index.

Used by ./make and ./edge.py. Everything written is a function of its inputs: no clock, no random names.
"""

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

EPOCH = 1_700_000_000
CREATED = "2023-11-14T22:13:20Z"
TYPE = "application/vnd.oci.image."


class Layout:
    """A layout being written; tags land in index.json on close()."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.blobs = self.folder / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.tags = []

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def json(self, value, media_type):
        return self.blob(json.dumps(value, sort_keys=True).encode(), media_type)

    def layer(self, tar, compression="gzip"):
        """A layer of a tar file: its descriptor and its diff_id."""
        data = Path(tar).read_bytes()
        diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
        if compression == "gzip":
            packed, suffix = gzip.compress(data, 4, mtime=0), "+gzip"
        elif compression == "zstd":
            run = subprocess.run(["zstd", "-q", "-3", "-c"], input=data, capture_output=True, check=True)
            packed, suffix = run.stdout, "+zstd"
        else:
            packed, suffix = data, ""
        return self.blob(packed, TYPE + "layer.v1.tar" + suffix), diff_id

    def image(self, layers, config, architecture="amd64"):
        """A manifest over layers; `config` is the image configuration's `config` object."""
        whole = {
            "created": CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(layers))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": TYPE + "manifest.v1+json",
            "config": self.json(whole, TYPE + "config.v1+json"),
            "layers": [descriptor for descriptor, _ in layers],
        }
        descriptor = self.json(manifest, manifest["mediaType"])
        return descriptor | {"platform": {"architecture": architecture, "os": "linux"}}

    def index(self, manifests):
        """A multi-platform index over manifests."""
        media_type = TYPE + "index.v1+json"
        return self.json({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}, media_type)

    def tag(self, name, descriptor):
        self.tags.append(descriptor | {"annotations": {"org.opencontainers.image.ref.name": name}})

    def close(self):
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": TYPE + "index.v1+json", "manifests": self.tags}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True))
