use std::path::{Path, PathBuf};

use super::saliency;
use crate::config::{Config, Saliency};
use crate::dataset::{DatasetError, Record, load_samples};
use crate::net::torch::from_tensor;
use crate::net::{ParamTensor, Params, TorchNet, TorchNetError};
use crate::train::CheckpointError;
use crate::train::tensors::{load_with_metadata, save_with_metadata};
use crate::train::upload::upload_samples;

/// Images a forward pass.
pub const SALIENCY_CHUNK: usize = 8;
const WHAT: &str = "saliency";
/// What the tensors' names begin with.
const GROUP: &str = "maps/";

/// What a classifier saw in many images, at the resolution of its features.
#[derive(Clone, Debug, PartialEq)]
pub struct SaliencyMaps {
    /// What each map is of.
    pub findings: Vec<String>,
    /// Tensors by image id: F × h × w, not negative.
    pub maps: Params,
}

/// Why saliency maps cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SaliencyError {
    /// The images.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The classifier.
    #[error(transparent)]
    Net(#[from] TorchNetError),
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The file.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// Maps of other findings.
    #[error(
        "{path} knows {found}, the configuration's findings are {expected}; take what was made with this configuration"
    )]
    OtherFindings {
        /// The maps.
        path: PathBuf,
        /// Its findings.
        found: String,
        /// The configuration's.
        expected: String,
    },
}

impl SaliencyMaps {
    /// No image looked at yet.
    pub fn new(findings: Vec<String>) -> Self {
        Self { findings, maps: Params::new() }
    }

    /// Looks at some images at once: [`SALIENCY_CHUNK`] or fewer.
    pub fn add(
        &mut self,
        config: &Config,
        net: &TorchNet,
        records: &[Record],
        method: Saliency,
    ) -> Result<(), SaliencyError> {
        let samples = load_samples(records, &[], &config.preprocess)?;
        let mean_std = [config.preprocess.mean, config.preprocess.std];
        let images = upload_samples(&samples, mean_std, net.device())?;
        let maps = saliency(net, &images, method)?;
        for (n, record) in records.iter().enumerate() {
            self.maps.insert(record.id.clone(), from_tensor(&maps.f_select(0, n as i64)?));
        }
        Ok(())
    }

    /// Checks that these are maps of the configuration's findings.
    pub fn check(&self, config: &Config, path: &Path) -> Result<(), SaliencyError> {
        let expected = config.finding_labels();
        if self.findings == expected {
            return Ok(());
        }
        let (found, expected) = (self.findings.join(", "), expected.join(", "));
        Err(SaliencyError::OtherFindings { path: path.to_owned(), found, expected })
    }

    /// Writes one safetensors file, atomically.
    pub fn save(&self, path: &Path) -> Result<(), SaliencyError> {
        Ok(save_with_metadata(path, &[(GROUP, &self.maps)], WHAT, &self.findings)?)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, SaliencyError> {
        let (tensors, findings) = load_with_metadata(path, WHAT)?;
        let own = |(name, tensor): (&str, &ParamTensor)| {
            Some((name.strip_prefix(GROUP)?.to_owned(), tensor.clone()))
        };
        Ok(Self { findings, maps: tensors.iter().filter_map(own).collect() })
    }
}
