"""What `streams` is compared with: the same bytes over a vsock of QEMU and the host kernel's vhost.

QEMU microvm with our kernel and vsock-cat.c as its first program, which does what `cat` would: file to connection, and
connection to file, in memory both.
"""

import socket
import subprocess
import sys
from pathlib import Path

from peers import Qemu

CID, PORT = 3, 1024
MEMORY_MIB = 1536
PATIENCE = 300  # seconds


def compile_guest(program):
    """Its first program, without a library that the machine would lack."""
    source = Path(__file__).resolve().with_name("vsock-cat.c")
    subprocess.run(["cc", "-static", "-O2", "-o", program, source], check=True)


class Vhost(Qemu):
    """A machine that runs, and the connections that it makes."""

    def __init__(self, work, package, program, mib):
        work.mkdir()
        super().__init__(work, package, None)
        (work / "vsock").mkdir()
        (work / "vsock/init").write_bytes(Path(program).read_bytes())
        (work / "vsock/init").chmod(0o755)
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=work / "vsock", check=True, input=b"init\n",
                                 stdout=subprocess.PIPE).stdout
        self.initramfs.write_bytes(archive)
        self.listener = socket.socket(socket.AF_VSOCK)
        self.listener.bind((socket.VMADDR_CID_ANY, PORT))
        self.listener.listen()
        self.listener.settimeout(1)
        self.process = subprocess.Popen([str(word) for word in self.command_of(mib)], stdin=subprocess.DEVNULL)
        self.next = self.accept()

    def accept(self):
        for _ in range(PATIENCE):
            try:
                return self.listener.accept()[0]
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        sys.exit(f"bench: {self.name} makes no connection")

    def command_of(self, mib):
        """As beside boots, with memory for two files, and the vsock, whose modern form is the one that kcradle has."""
        words = self.command()
        words[words.index("-m") + 1] = MEMORY_MIB
        # QEMU adds where the vsock is, and what the kernel does not know is its first program's environment
        words[words.index("-append") + 1] = f"quiet loglevel=1 panic=-1 reboot=t mib={mib}"
        return [*words, "-global", "virtio-mmio.force-legacy=false", "-device", f"vhost-vsock-device,guest-cid={CID}"]

    def connection(self, what):
        """The connection that the machine has made, told what it is for."""
        connection, self.next = self.next, None
        connection.sendall(what)
        return connection

    def out(self):
        """Takes the machine's file. Returns its length."""
        connection, buffer, total = self.connection(b"o"), bytearray(1 << 20), 0
        while count := connection.recv_into(buffer):
            total += count
        self.finish(connection)
        return total

    def take(self, blocks):
        """Gives the machine a file. Returns its length once all of it is there."""
        connection, total = self.connection(b"i"), 0
        for block in blocks:
            connection.sendall(block)
            total += len(block)
        connection.shutdown(socket.SHUT_WR)
        told = connection.recv(1)
        self.finish(connection)
        return total if told else 0

    def finish(self, connection):
        connection.close()
        self.next = self.accept()

    def end(self):
        self.listener.close()
        self.process.kill()
        self.process.wait()
