use serde::Deserialize;

use super::{ValueError, range};

/// How the store uses the disk. What is not sent is never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Space in MiB that stays free on the disk of `state_dir`: below it new images are refused, so that results and the
    /// database can still be written. 16 to 1 048 576, default 512.
    pub reserve_mib: u64,
    /// Most MiB that images may take, 0 for no bound. Default 0.
    pub quota_mib: u64,
    /// Days for which images whose results are delivered are remembered, so that one sent again is known: 1 to 36 500,
    /// default 365. Their files go at once.
    pub remember_days: u32,
    /// Days after which images set aside are deleted, 0 for never: 0 to 36 500, default 0.
    pub set_aside_days: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { reserve_mib: 512, quota_mib: 0, remember_days: 365, set_aside_days: 0 }
    }
}

impl StoreConfig {
    pub(super) fn validate(&self) -> Result<(), ValueError> {
        range("store.reserve_mib", self.reserve_mib, 16, 1 << 20)?;
        range("store.quota_mib", self.quota_mib, 0, 1 << 40)?;
        range("store.remember_days", u64::from(self.remember_days), 1, 36_500)?;
        range("store.set_aside_days", u64::from(self.set_aside_days), 0, 36_500)
    }
}
