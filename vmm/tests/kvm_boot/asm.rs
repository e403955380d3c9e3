//! Just enough of an assembler and a linker for the guests of these tests (Intel SDM volume 2).

use std::fs::File;
use std::io::Write;

/// Machine code.
#[derive(Clone, Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// `mov dx, port; mov al, byte; out dx, al`
    pub(crate) fn out(self, port: u16, byte: u8) -> Self {
        self.bytes(&[0x66, 0xba]).bytes(&port.to_le_bytes()).bytes(&[0xb0, byte, 0xee])
    }

    /// Each byte of `text` to the early console.
    pub(crate) fn print(self, text: &str) -> Self {
        text.bytes().fold(self, |code, byte| code.out(0x3f8, byte))
    }

    /// `mov dword [address], value` with an absolute address below 2 GiB.
    pub(crate) fn store(self, address: u32, value: u32) -> Self {
        self.bytes(&[0xc7, 0x04, 0x25]).bytes(&address.to_le_bytes()).bytes(&value.to_le_bytes())
    }

    /// Stores `bytes` at `address`, zeros up to a multiple of four behind them.
    pub(crate) fn store_bytes(self, address: u32, bytes: &[u8]) -> Self {
        let words = bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        });
        (0..).zip(words).fold(self, |code, (index, word)| code.store(address + 4 * index, word))
    }

    /// Loops until the byte at `address` is `value`: `cmp byte [address], value; jne`.
    pub(crate) fn wait_for(self, address: u32, value: u8) -> Self {
        self.bytes(&[0x80, 0x3c, 0x25]).bytes(&address.to_le_bytes()).bytes(&[value, 0x75, 0xf6])
    }

    /// `mov ecx, register; mov eax, value; xor edx, edx; wrmsr`
    pub(crate) fn write_msr(self, register: u32, value: u32) -> Self {
        let code = self.bytes(&[0xb9]).bytes(&register.to_le_bytes());
        code.bytes(&[0xb8]).bytes(&value.to_le_bytes()).bytes(&[0x31, 0xd2, 0x0f, 0x30])
    }

    /// A system call of Linux with up to three arguments: `mov eax, number; mov edi/esi/edx, …; syscall`. Others
    /// are what they were, at first zero.
    pub(crate) fn system_call(self, number: u32, arguments: [u32; 3]) -> Self {
        let [first, second, third] = arguments.map(u32::to_le_bytes);
        let code = self.bytes(&[0xb8]).bytes(&number.to_le_bytes()).bytes(&[0xbf]).bytes(&first);
        code.bytes(&[0xbe]).bytes(&second).bytes(&[0xba]).bytes(&third).bytes(&[0x0f, 0x05])
    }

    /// `rep outsb` of `count` bytes at `address` to `port`.
    pub(crate) fn out_string(self, port: u16, address: u32, count: u32) -> Self {
        let code =
            self.bytes(&[0x66, 0xba]).bytes(&port.to_le_bytes()).bytes(&[0xbe]).bytes(&address.to_le_bytes());
        code.bytes(&[0xb9]).bytes(&count.to_le_bytes()).bytes(&[0xf3, 0x6e])
    }

    /// `jmp $`
    pub(crate) fn hang(self) -> Self {
        self.bytes(&[0xeb, 0xfe])
    }

    /// `ud2`
    pub(crate) fn fault(self) -> Self {
        self.bytes(&[0x0f, 0x0b])
    }

    /// As it is.
    pub(crate) fn flat(self) -> Vec<u8> {
        self.0
    }

    /// An ELF executable whose one segment, readable, writable and executable, is this code at `address`, with
    /// `spare` zero bytes behind it.
    pub(crate) fn link(self, address: u64, spare: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        file.extend((address + 0x1000).to_le_bytes());
        file.extend(64_u64.to_le_bytes());
        file.extend([0; 12]);
        for half in [64_u16, 56, 1, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        file.extend([1, 0, 0, 0, 7, 0, 0, 0]);
        let size = 0x1000 + self.0.len() as u64;
        for word in [0, address, address, size, size + spare, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.resize(0x1000, 0);
        file.extend(self.0);
        file
    }

    /// The code as a kernel in a file, its segment readable and executable: mapped, as the text of Linux is.
    pub(crate) fn kernel(self) -> File {
        let mut bytes = self.link(0x100_0000, 0);
        bytes[68] = 5;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }
}

/// A newc archive with one executable file (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
pub(crate) fn initramfs(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = entry(name, 0o100_755, content);
    archive.extend(entry("TRAILER!!!", 0, b""));
    archive
}

fn entry(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let (size, name_size) = (u32::try_from(content.len()).unwrap(), u32::try_from(name.len() + 1).unwrap());
    let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut entry = b"070701".to_vec();
    fields.iter().for_each(|field| entry.extend(format!("{field:08x}").bytes()));
    entry.extend(name.bytes());
    entry.push(0);
    pad(&mut entry);
    entry.extend(content);
    pad(&mut entry);
    entry
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
