"""A virtual machine that never changes with our code, as the guard's measure: QEMU microvm and a guest of 40 bytes.

The guest writes to a page after the other and then resets the machine, so a run does what any boot costs on a host:
making a virtual machine, nested faults, zeroing, taking it down.
"""

import struct

BASE = 0x100000  # where the guest is loaded and entered, in 32-bit mode (PVH)
FIRST_PAGE, PAGES = 0x200000, 4096
MEMORY_MIB = 32
XEN_ELFNOTE_PHYS32_ENTRY = 18


def guest():
    """The guest as a 32-bit ELF file whose note names the entry point, which is how QEMU finds it."""
    code = (b"\xbf" + struct.pack("<I", FIRST_PAGE)                         # mov edi, FIRST_PAGE
            + b"\x88\x07"                                                   # next: mov [edi], al
            + b"\x81\xc7" + struct.pack("<I", 0x1000)                       # add edi, a page
            + b"\x81\xff" + struct.pack("<I", FIRST_PAGE + PAGES * 0x1000)  # cmp edi, the end
            + b"\x72\xf0"                                                   # jb next
            + b"\x0f\x01\x1d" + struct.pack("<I", BASE + 0x40)              # lidt [no interrupts at all]
            + b"\x0f\x0b")                                                  # ud2: a triple fault, which resets
    code = code.ljust(0x60, b"\0")
    note = struct.pack("<III4sI", 4, 4, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0", BASE)
    headers = 52 + 2 * 32
    segments = struct.pack("<8I", 1, headers, BASE, BASE, len(code), len(code), 7, 4)  # PT_LOAD
    segments += struct.pack("<8I", 4, headers + len(code), 0, 0, len(note), len(note), 4, 4)  # PT_NOTE
    header = b"\x7fELF\1\1\1".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    return (header + segments + code + note).ljust(0x4000, b"\0")


def command(work):
    """The command that boots it, its file in the folder `work`."""
    kernel = work / "reference.elf"
    kernel.write_bytes(guest())
    return ["qemu-system-x86_64",
            # as little of a machine as there is; a reset of the guest ends QEMU
            "-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=off,acpi=off", "-no-reboot",
            "-accel", "kvm", "-cpu", "host",
            "-nodefaults", "-no-user-config", "-display", "none",  # nothing that was not asked for
            "-m", MEMORY_MIB, "-smp", "1",
            "-kernel", kernel]
