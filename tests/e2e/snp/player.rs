//! What stands for the processor under a stub: code behind it that answers `PVALIDATE`, which traps as an unknown instruction
//! where there is no such processor.
//!
//! The machine starts at the stub's first byte, so a jump stands there at first. It leads to code that sets up the exception,
//! puts the stub's own bytes back and starts it: what runs is the release's, byte for byte. Each page may be validated once.

/// Where the layout has the stub.
const STUB: u32 = 0x1_0000;
const PAGE: usize = 0x1000;

/// Places on the page of code.
const HANDLER: usize = 0x80;
const END: usize = 0x100;
const TABLE_REGISTER: usize = 0x140;
const NO_TABLE: usize = 0x150;

/// Pages behind the stub: the table of exceptions, code, a bit for each page of 256 MiB.
const MARKS: usize = 2;

/// Bytes to jump over: of the jump itself.
const JUMP: usize = 5;

/// The stub and what answers it.
pub(super) fn around(stub: &[u8]) -> Vec<u8> {
    let mut image = stub.to_vec();
    image.resize(stub.len().next_multiple_of(PAGE), 0);
    let table = address(image.len());
    let code = address(image.len() + PAGE);
    image.extend(exceptions(code + offset(HANDLER)));
    image.extend(code_page(stub, table, code));
    image.resize(image.len() + MARKS * PAGE, 0);
    image[..JUMP].copy_from_slice(&jump(STUB, code));
    image
}

/// One gate (AMD APM volume 2, section 4.8.4), that of unknown instructions.
fn exceptions(handler: u32) -> Vec<u8> {
    let [b0, b1, b2, b3] = handler.to_le_bytes();
    let mut table = vec![0; PAGE];
    table[6 * 16..][..8].copy_from_slice(&[b0, b1, 0x10, 0, 0, 0x8e, b2, b3]);
    table
}

fn code_page(stub: &[u8], table: u32, code: u32) -> Vec<u8> {
    let mut page = vec![0xf4; PAGE];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &start(stub, code));
    put(HANDLER, &handler(code + offset(PAGE)));
    // lidt [no table]; ud2
    let no_table = (code + offset(NO_TABLE)).to_le_bytes();
    put(END, &[&[0x0f, 0x01, 0x1c, 0x25][..], &no_table, &[0x0f, 0x0b]].concat());
    put(TABLE_REGISTER, &[&[0xff, 0x0f][..], &u64::from(table).to_le_bytes()].concat());
    put(NO_TABLE, &[0; 10]);
    page
}

/// `lidt [table]; mov dword [stub], …; mov byte [stub + 4], …; jmp stub`
fn start(stub: &[u8], code: u32) -> Vec<u8> {
    let table = (code + offset(TABLE_REGISTER)).to_le_bytes();
    let mut start = [&[0x0f, 0x01, 0x1c, 0x25][..], &table].concat();
    start.extend([&[0xc7, 0x04, 0x25][..], &STUB.to_le_bytes(), &stub[..4]].concat());
    start.extend([&[0xc6, 0x04, 0x25][..], &(STUB + 4).to_le_bytes(), &stub[4..JUMP]].concat());
    start.extend(jump(code + offset(start.len()), STUB));
    start
}

/// Says that the page in RAX is valid now, and that it was not so before; any other unknown instruction, and a page that was
/// valid, end the machine.
fn handler(marks: u32) -> Vec<u8> {
    // push rbx; mov rbx, [rsp+8]; cmp dword [rbx], PVALIDATE
    let mut code = vec![0x53, 0x48, 0x8b, 0x5c, 0x24, 0x08, 0x81, 0x3b, 0xf2, 0x0f, 0x01, 0xff];
    let to_end = |code: &mut Vec<u8>, condition: u8| {
        let distance = offset(END - (HANDLER + code.len() + 6)).to_le_bytes();
        code.extend([&[0x0f, condition][..], &distance].concat());
    };
    to_end(&mut code, 0x85);
    // mov rbx, rax; shr rbx, 12; bts [marks], rbx
    code.extend([0x48, 0x89, 0xc3, 0x48, 0xc1, 0xeb, 0x0c, 0x48, 0x0f, 0xab, 0x1c, 0x25]);
    code.extend(marks.to_le_bytes());
    to_end(&mut code, 0x82);
    // xor eax, eax; and dword [rsp+24], ~1; add qword [rsp+8], 4; pop rbx; iretq
    code.extend([
        0x31, 0xc0, 0x83, 0x64, 0x24, 0x18, 0xfe, 0x48, 0x83, 0x44, 0x24, 0x08, 0x04, 0x5b, 0x48, 0xcf,
    ]);
    code
}

fn jump(from: u32, to: u32) -> [u8; JUMP] {
    let [b0, b1, b2, b3] = to.wrapping_sub(from + offset(JUMP)).to_le_bytes();
    [0xe9, b0, b1, b2, b3]
}

fn address(at: usize) -> u32 {
    STUB + offset(at)
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap()
}
