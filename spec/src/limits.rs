//! How fast a disk of a pod may be: kept in `pod.json`, changed by a request on `control.sock`. The guest is not told.

use serde::{Deserialize, Serialize};

/// Limits of one disk, each a number a second; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct DiskLimits {
    /// Bytes read.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_bps: u64,
    /// Bytes written.
    #[serde(skip_serializing_if = "is_zero")]
    pub write_bps: u64,
    /// Requests that read.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_iops: u64,
    /// Requests that write, flushes and discards among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub write_iops: u64,
}

/// Changes of a disk's limits: those that are named, 0 lifts one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct LimitChanges {
    /// Bytes read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bps: Option<u64>,
    /// Bytes written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bps: Option<u64>,
    /// Requests that read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    /// Requests that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
}

impl LimitChanges {
    /// The limits with these changes.
    #[must_use]
    pub fn of(&self, limits: DiskLimits) -> DiskLimits {
        DiskLimits {
            read_bps: self.read_bps.unwrap_or(limits.read_bps),
            write_bps: self.write_bps.unwrap_or(limits.write_bps),
            read_iops: self.read_iops.unwrap_or(limits.read_iops),
            write_iops: self.write_iops.unwrap_or(limits.write_iops),
        }
    }
}

impl DiskLimits {
    /// Whether there is no limit.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
