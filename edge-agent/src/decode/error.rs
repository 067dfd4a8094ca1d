use shared::pixel::{FrameError, GrayscaleError};

/// Why a file is no radiograph that can be analysed. Messages hold no patient data: no names, no values of
/// text attributes, no file content.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file could not be read.
    #[error("failed to read the file: {0}")]
    Read(#[from] std::io::Error),
    /// Zero bytes.
    #[error("the file is empty; its transfer may have been cut off: send it again")]
    Empty,
    /// More bytes than allowed.
    #[error(
        "the file has {bytes} bytes, the limit is {limit}; raise `limits.max_file_bytes` if this is right"
    )]
    FileTooLarge {
        /// Bytes found.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// None of the formats, whatever its name says.
    #[error("not a DICOM, PNG, JPEG or TIFF file (looked at its content, not its name)")]
    UnknownFormat,
    /// DICOM that cannot be parsed.
    #[error("not a valid DICOM file: {0}; it may be truncated: send it again")]
    Dicom(String),
    /// A transfer syntax without a decoder.
    #[error(
        "transfer syntax {name} ({uid}) cannot be decoded; let the unit send an uncompressed, JPEG, JPEG-LS, JPEG \
         2000 or RLE one"
    )]
    TransferSyntax {
        /// Its UID, or `?` if it is not well-formed.
        uid: String,
        /// Its name.
        name: &'static str,
    },
    /// A required attribute is absent.
    #[error("the DICOM object has no {0}: it is no image, or its header is damaged")]
    Missing(&'static str),
    /// An attribute whose value cannot be used.
    #[error("{attribute} is {found}: {problem}")]
    Attribute {
        /// Keyword and tag.
        attribute: &'static str,
        /// The value: a number or one of DICOM's defined terms.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than one frame.
    #[error(
        "NumberOfFrames (0028,0008) is {0}: only single-frame radiographs are analysed, send each frame alone"
    )]
    MultiFrame(u32),
    /// Pixel data shorter than rows and columns say.
    #[error(
        "pixel data holds {found} bytes, rows and columns need {expected}: the file is truncated, send it again"
    )]
    PixelDataLength {
        /// Bytes needed.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Compressed pixel data that is damaged or contradicts the header.
    #[error("{codec} pixel data cannot be decoded: {reason}")]
    Codec {
        /// Name of the compression.
        codec: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A decoder panicked.
    #[error("the {what} decoder gave up on damaged data; the file cannot be used")]
    Crashed {
        /// Which.
        what: &'static str,
    },
    /// A picture that is damaged, or any image that exceeds the limits.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A grey-scale transform that cannot be applied.
    #[error(transparent)]
    Grayscale(#[from] GrayscaleError),
}

impl DecodeError {
    /// A short stable name of the kind, for tables, logs and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "unreadable",
            Self::Empty => "empty_file",
            Self::FileTooLarge { .. } | Self::Frame(FrameError::TooLarge { .. }) => "too_large",
            Self::UnknownFormat => "not_an_image",
            Self::Dicom(_) | Self::Attribute { .. } | Self::Grayscale(_) => "invalid_dicom",
            Self::TransferSyntax { .. } => "unsupported_transfer_syntax",
            Self::Missing(_) => "missing_attribute",
            Self::MultiFrame(_) => "multi_frame",
            Self::PixelDataLength { .. } => "truncated",
            Self::Codec { .. } | Self::Crashed { .. } | Self::Frame(_) => "damaged_pixels",
        }
    }
}
