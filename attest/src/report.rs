//! An attestation report: 1184 bytes that the secure processor has signed (AMD 56860, "Attestation Report Structure").
//!
//! The bytes are kept as they came and each field is read at its place. Bits that this program does not know are left
//! alone: newer firmware sets them, and the signature covers them.

use std::ops::Range;

use crate::product::Product;

/// The length of a report, in bytes.
pub const LENGTH: usize = 1184;
/// The versions whose fields are where this program reads them.
pub const VERSIONS: [u32; 3] = [2, 3, 5];
/// The bytes that are signed.
const SIGNED: Range<usize> = 0..0x2a0;
/// ECDSA with P-384 and SHA-384, the only algorithm there is.
const ECDSA_P384_SHA384: u32 = 1;
/// R and S are little-endian numbers in so many bytes each.
const NUMBER: usize = 72;
/// A number of P-384, in bytes.
const SCALAR: usize = 48;

/// Why bytes are no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Another length.
    #[error("{0} bytes, where a report has {LENGTH}")]
    Length(usize),
    /// A version whose layout is not known.
    #[error("report version {0}; versions 2, 3 and 5 are known")]
    Version(u32),
    /// Another kind of signature.
    #[error("signature algorithm {0}, where 1 is ECDSA P-384 with SHA-384")]
    Algorithm(u32),
    /// The signature's field holds more than a signature.
    #[error("bytes beside the signature are not zero")]
    Padding,
}

/// The key that a report says it was signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The chip's own, versioned chip endorsement key.
    Vcek,
    /// The cloud provider's, versioned loaded endorsement key.
    Vlek,
    /// Not signed.
    None,
    /// A number without a meaning.
    Unknown(u8),
}

/// Bits of the guest's policy (AMD 56860, "Guest Policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Whether the guest may run where processors have two threads.
    #[must_use]
    pub fn smt(self) -> bool {
        self.0 >> 16 & 1 == 1
    }

    /// Whether a migration agent may have the guest.
    #[must_use]
    pub fn migrate_ma(self) -> bool {
        self.0 >> 18 & 1 == 1
    }

    /// Whether the host may read and write the guest's memory.
    #[must_use]
    pub fn debug(self) -> bool {
        self.0 >> 19 & 1 == 1
    }
}

/// A report with a known layout. Nothing of it is to be believed before its signature is.
#[derive(Clone, Debug)]
pub struct Report {
    bytes: Box<[u8; LENGTH]>,
}

impl Report {
    /// Takes the bytes of a report.
    ///
    /// # Errors
    /// Another length, version or signature algorithm, and a signature's field with something else in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let bytes: Box<[u8; LENGTH]> =
            Box::new(bytes.try_into().map_err(|_| ReportError::Length(bytes.len()))?);
        let report = Self { bytes };
        if !VERSIONS.contains(&report.version()) {
            return Err(ReportError::Version(report.version()));
        }
        match report.u32(0x34) {
            ECDSA_P384_SHA384 => {}
            other => return Err(ReportError::Algorithm(other)),
        }
        let (numbers, rest) = report.bytes[SIGNED.end..].split_at(2 * NUMBER);
        let beside = numbers.chunks_exact(NUMBER).flat_map(|number| &number[SCALAR..]).chain(rest);
        if beside.copied().any(|byte| byte != 0) {
            return Err(ReportError::Padding);
        }
        Ok(report)
    }

    /// The bytes that the signature is over.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.bytes[SIGNED]
    }

    /// R and S, 48 big-endian bytes each.
    #[must_use]
    pub fn signature(&self) -> [u8; 2 * SCALAR] {
        let mut signature = [0; 2 * SCALAR];
        for (number, place) in signature.chunks_exact_mut(SCALAR).zip([SIGNED.end, SIGNED.end + NUMBER]) {
            number.copy_from_slice(&self.bytes[place..place + SCALAR]);
            number.reverse();
        }
        signature
    }

    /// The version of the layout.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.u32(0x00)
    }

    /// What the guest's owner lets the host do.
    #[must_use]
    pub fn guest_policy(&self) -> GuestPolicy {
        GuestPolicy(u64::from_le_bytes(self.field(0x08)))
    }

    /// The privilege level of who asked for the report; all ones where it was the host.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    /// The TCB version of the running firmware.
    #[must_use]
    pub fn current_tcb(&self) -> [u8; 8] {
        self.field(0x38)
    }

    /// Whether the digest of the author's key is set.
    #[must_use]
    pub fn has_author_key(&self) -> bool {
        self.u32(0x48) & 1 == 1
    }

    /// Whether the host keeps the chip's key from being used.
    #[must_use]
    pub fn masks_chip_key(&self) -> bool {
        self.u32(0x48) >> 1 & 1 == 1
    }

    /// The key that it says it was signed with.
    #[must_use]
    pub fn signer(&self) -> Signer {
        match self.bytes[0x48] >> 2 & 0b111 {
            0 => Signer::Vcek,
            1 => Signer::Vlek,
            7 => Signer::None,
            other => Signer::Unknown(other),
        }
    }

    /// What the guest has put in.
    #[must_use]
    pub fn report_data(&self) -> [u8; 64] {
        self.field(0x50)
    }

    /// The launch digest.
    #[must_use]
    pub fn measurement(&self) -> [u8; 48] {
        self.field(0x90)
    }

    /// What the host has put in at launch.
    #[must_use]
    pub fn host_data(&self) -> [u8; 32] {
        self.field(0xc0)
    }

    /// SHA-384 of the key that signed the guest's ID block.
    #[must_use]
    pub fn id_key_digest(&self) -> [u8; 48] {
        self.field(0xe0)
    }

    /// SHA-384 of the key that certified the ID key.
    #[must_use]
    pub fn author_key_digest(&self) -> [u8; 48] {
        self.field(0x110)
    }

    /// The id of the guest's migration agent; all ones where it has none.
    #[must_use]
    pub fn report_id_ma(&self) -> [u8; 32] {
        self.field(0x160)
    }

    /// The TCB version that the signing key was derived with.
    #[must_use]
    pub fn reported_tcb(&self) -> [u8; 8] {
        self.field(0x180)
    }

    /// Family, model and stepping of the processor; only from version 3 on.
    #[must_use]
    pub fn cpuid(&self) -> Option<(u8, u8, u8)> {
        (self.version() >= 3).then(|| (self.bytes[0x188], self.bytes[0x189], self.bytes[0x18a]))
    }

    /// The product of that processor.
    #[must_use]
    pub fn product(&self) -> Option<Product> {
        let (family, model, _) = self.cpuid()?;
        Product::of_cpuid(family, model)
    }

    /// The chip; zeros where the host masks it.
    #[must_use]
    pub fn chip_id(&self) -> [u8; 64] {
        self.field(0x1a0)
    }

    /// The TCB version below which the firmware cannot go any more.
    #[must_use]
    pub fn committed_tcb(&self) -> [u8; 8] {
        self.field(0x1e0)
    }

    /// The TCB version when the guest was launched.
    #[must_use]
    pub fn launch_tcb(&self) -> [u8; 8] {
        self.field(0x1f0)
    }

    fn u32(&self, place: usize) -> u32 {
        u32::from_le_bytes(self.field(place))
    }

    /// The bytes at a place of the fixed layout.
    fn field<const N: usize>(&self, place: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[place..place + N]);
        field
    }
}
