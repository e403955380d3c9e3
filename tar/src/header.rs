//! One 512-byte tar header: its fields, checksum and numbers (octal or base-256).

use crate::TarError;

/// Bytes of a tar block.
pub(crate) const BLOCK: usize = 512;

/// A header whose checksum is right.
pub(crate) struct Header([u8; BLOCK]);

/// Which names the header's last part holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V7,
    Ustar,
    Gnu,
}

/// The bytes before the first NUL.
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between spaces and NULs (nothing is 0), or a big-endian two's complement number whose
/// first bit is set as a mark.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let &first = field.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (index, &byte) in field.iter().enumerate() {
            let byte = if index == 0 { byte & 0x7f | if negative { 0x80 } else { 0 } } else { byte };
            value = (value << 8) | i128::from(byte);
            if i64::try_from(value).is_err() {
                return None;
            }
        }
        return i64::try_from(value).ok();
    }
    let start = field.iter().position(|&byte| byte != b' ' && byte != 0).unwrap_or(field.len());
    let digits = until_nul(&field[start..]).trim_ascii_end();
    digits.iter().try_fold(0_i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

impl Header {
    /// Accepts a block whose checksum is right, counted with unsigned or, as some old tars did, signed bytes.
    pub(crate) fn new(block: [u8; BLOCK]) -> Option<Self> {
        let stored = number(&block[148..156])?;
        let blanked = |index: usize| if (148..156).contains(&index) { b' ' } else { block[index] };
        let unsigned: i64 = (0..BLOCK).map(|index| i64::from(blanked(index))).sum();
        let signed: i64 = (0..BLOCK).map(|index| i64::from(blanked(index).cast_signed())).sum();
        (stored == unsigned || stored == signed).then_some(Self(block))
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }

    pub(crate) fn flag(&self) -> u8 {
        self.0[156]
    }

    /// The path, with the prefix field where the dialect has one.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = match self.dialect() {
            // Star keeps times behind a shorter prefix.
            Dialect::Ustar if &self.0[508..] == b"tar\0" => until_nul(&self.0[345..476]),
            Dialect::Ustar => until_nul(&self.0[345..500]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).to_vec()
    }

    pub(crate) fn mode(&self, offset: u64) -> Result<i64, TarError> {
        self.field(100..108, "mode", offset)
    }

    pub(crate) fn uid(&self, offset: u64) -> Result<i64, TarError> {
        self.field(108..116, "user id", offset)
    }

    pub(crate) fn gid(&self, offset: u64) -> Result<i64, TarError> {
        self.field(116..124, "group id", offset)
    }

    /// Bytes of data that follow.
    pub(crate) fn size(&self, offset: u64) -> Result<u64, TarError> {
        let size = self.field(124..136, "size", offset)?;
        u64::try_from(size).map_err(|_| TarError::Field { offset, field: "size" })
    }

    pub(crate) fn mtime(&self, offset: u64) -> Result<i64, TarError> {
        self.field(136..148, "time", offset)
    }

    pub(crate) fn device(&self, offset: u64) -> Result<(i64, i64), TarError> {
        let major = self.field(329..337, "major device number", offset)?;
        Ok((major, self.field(337..345, "minor device number", offset)?))
    }

    /// The sparse map of an old GNU header: four (offset, length) pairs, whether more follow, and the real size.
    pub(crate) fn old_gnu_sparse(&self) -> (&[u8], bool, &[u8]) {
        (&self.0[386..482], self.0[482] != 0, &self.0[483..495])
    }

    fn field(
        &self,
        range: std::ops::Range<usize>,
        field: &'static str,
        offset: u64,
    ) -> Result<i64, TarError> {
        number(&self.0[range]).ok_or(TarError::Field { offset, field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"00000008"), None);
        assert_eq!(number(b"\x80\0\0\0\xee\x6b\x28\0"), Some(4_000_000_000));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
    }
}
