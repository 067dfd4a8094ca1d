use crate::LowerError;

/// Why an operator is left to tract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is none that we have a form of.
    Reason(String),
    /// The graph is broken.
    Broken(LowerError),
}

impl From<LowerError> for Refusal {
    fn from(error: LowerError) -> Self {
        Self::Broken(error)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}
