use super::super::{DatasetError, Split};

/// Something about a data set that a person should know. Training stops at the first hard one; an import
/// lists them all.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// An image that cannot be used as it stands: its file, mask, split or patient is wrong.
    #[error("{0}")]
    Broken(#[from] DatasetError),
    /// The same picture in two splits under two patients: what is learnt from one is measured on the other.
    #[error(
        "leak: {first} ({first_split}) and {second} ({second_split}) are the same picture; remove one of them or \
         declare them one patient in one split"
    )]
    Leak {
        /// One image.
        first: String,
        /// Its split.
        first_split: Split,
        /// The other, which is left out when broken images are skipped.
        second: String,
        /// Its split.
        second_split: Split,
    },
    /// Two images that look alike.
    #[error("{first} and {second} look alike ({bits} of {of} bits of the perceptual hash differ){splits}")]
    Lookalike {
        /// One image.
        first: String,
        /// The other.
        second: String,
        /// Differing bits.
        bits: u32,
        /// Bits in all.
        of: u32,
        /// What to say of their splits; empty if they share one.
        splits: String,
    },
    /// The same picture more than once in a split.
    #[error("{first} and {second} are the same picture; the split {split} counts it twice")]
    Twice {
        /// One image.
        first: String,
        /// The other.
        second: String,
        /// Their split.
        split: Split,
    },
    /// A class that is annotated and nowhere drawn.
    #[error(
        "{dataset}: none of the {images} images annotated for {class} shows it; check the mapping of the class"
    )]
    EmptyClass {
        /// Data set.
        dataset: String,
        /// Class.
        class: String,
        /// Annotated images.
        images: usize,
    },
    /// Splits cannot be independent.
    #[error(
        "{dataset}: all {images} images are of one patient, so no split of them is independent; check the column \
         or template of the patient"
    )]
    OnePatient {
        /// Data set.
        dataset: String,
        /// Images.
        images: usize,
    },
    /// Classes of the file that the configuration leaves aside.
    #[error("{dataset}: not used: {classes}; map them under data.{dataset}.classes if they are wanted")]
    Unmapped {
        /// Data set.
        dataset: String,
        /// Names of the classes in the file.
        classes: String,
    },
    /// Images that the specification leaves aside.
    #[error("{dataset}: {images} images left aside: {reason}")]
    LeftAside {
        /// Data set.
        dataset: String,
        /// How many.
        images: usize,
        /// Why.
        reason: String,
    },
}

impl Problem {
    /// Whether the data must not be used with it.
    pub fn is_hard(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Leak { .. })
    }
}
