use dicom_ul::association::server::AccessControl;
use dicom_ul::pdu::{AssociationRJServiceUserReason, UserIdentity};

use crate::config::DicomConfig;

/// Which units are served, by the AE titles that they give (PS3.8 section 9.3.2).
#[derive(Clone, Debug)]
pub(super) struct Policy<'a>(pub(super) &'a DicomConfig);

impl AccessControl for Policy<'_> {
    fn check_access(
        &self,
        _this: &str,
        calling: &str,
        called: &str,
        _user: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        let Self(config) = self;
        if !config.any_called_ae_title && called.trim() != config.ae_title.as_str() {
            return Err(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
        }
        let known = &config.calling_ae_titles;
        if !known.is_empty() && !known.iter().any(|title| title.as_str() == calling.trim()) {
            return Err(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
        }
        Ok(())
    }
}
