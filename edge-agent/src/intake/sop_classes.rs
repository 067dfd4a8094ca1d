//! What is taken over the network.

use dicom_dictionary_std::uids;

/// Storage SOP classes whose instances are accepted (PS3.4 table B.5-1).
pub const STORAGE: [&str; 4] = [
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
];

/// Everything that is negotiated.
pub fn abstract_syntaxes() -> impl Iterator<Item = &'static str> {
    STORAGE.into_iter().chain([uids::VERIFICATION, uids::STORAGE_COMMITMENT_PUSH_MODEL])
}
