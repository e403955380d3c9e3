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
