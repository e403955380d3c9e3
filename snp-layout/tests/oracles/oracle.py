"""Asks sev-snp-measure: a line a page (kind, address, content), `digest` ends a list; `fields` makes a save area."""
import json
import sys

from sevsnpmeasure.gctx import GCTX
from sevsnpmeasure.vmsa import SevEsSaveArea, VmcbSeg

context = GCTX()
for line in sys.stdin:
    kind, *rest = line.split(None, 2)
    if kind == "digest":
        print(context.hex_ld())
        context = GCTX()
        continue
    if kind == "fields":
        fields = {name: VmcbSeg(*value) if isinstance(value, list) else value for name, value in json.loads(rest[1]).items()}
        # A name that is no field of the structure would be kept beside it, and left out of its bytes.
        assert not set(fields) - {name for name, _ in SevEsSaveArea._fields_}, fields
        print(bytes(SevEsSaveArea(**fields)).hex())
        continue
    address = int(rest[0], 16)
    if kind == "normal":
        context.update_normal_pages(address, bytes.fromhex(rest[1]))
    elif kind == "vmsa":
        context.update_vmsa_page(bytes.fromhex(rest[1]))
    elif kind == "zero":
        context.update_zero_pages(address, 4096)
    elif kind == "unmeasured":
        context.update_unmeasured_pages(address, 4096)
    elif kind == "secrets":
        context.update_secrets_page(address)
    elif kind == "cpuid":
        context.update_cpuid_page(address)
    else:
        sys.exit(f"unknown kind {kind}")
