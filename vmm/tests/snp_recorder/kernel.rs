//! A kernel's file that can be laid out, and does nothing.

/// Setup sectors.
const SECTORS: u8 = 7;

/// The header of a bzImage and a page.
pub(crate) fn kernel() -> Vec<u8> {
    let mut file = vec![0; (usize::from(SECTORS) + 1) * 512 + 0x1000];
    file[0x1f1] = SECTORS;
    file[0x1fe..0x200].copy_from_slice(&0xaa55_u16.to_le_bytes());
    file[0x201] = 0x6a;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    file
}
