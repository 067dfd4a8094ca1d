use shared::manifest::Code;

/// A category of DICOM CID 7150: SNOMED CT code and meaning.
pub(super) type Category = (&'static str, &'static str);

const ANATOMICAL_STRUCTURE: Category = ("91723000", "Anatomical Structure");
const PHYSICAL_OBJECT: Category = ("260787004", "Physical object");
const ABNORMAL_STRUCTURE: Category = ("49755003", "Morphologically Altered Structure");

/// SNOMED CT codes of the structures that this project's models segment.
const STRUCTURES: [&str; 6] = [
    "44029006", // left lung
    "3341006",  // right lung
    "74101002", // both lungs
    "39607008", // lung
    "80891009", // heart
    "72410000", // mediastinum
];

/// SNOMED CT code of a device.
const DEVICE: &str = "49062001";

/// The Segmented Property Category of a finding's type. Results carry the type only; what is neither a known structure
/// nor a device is what a radiograph is searched for.
pub(super) fn category(code: &Code) -> Category {
    match (code.scheme.as_str(), code.value.as_str()) {
        ("SCT", value) if STRUCTURES.contains(&value) => ANATOMICAL_STRUCTURE,
        ("SCT", DEVICE) | (_, "support-devices") => PHYSICAL_OBJECT,
        _ => ABNORMAL_STRUCTURE,
    }
}
