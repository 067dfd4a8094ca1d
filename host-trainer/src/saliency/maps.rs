use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use super::saliency;
use crate::config::{Config, Saliency};
use crate::dataset::{DatasetError, Record, load_samples};
use crate::net::{ParamTensor, Params, TorchNet, TorchNetError};
use crate::train::CheckpointError;
use crate::train::tensors::{load_with_metadata, save_with_metadata};
use crate::train::upload::upload_samples;

/// Images a forward pass.
pub const SALIENCY_CHUNK: usize = 8;
const WHAT: &str = "saliency";

/// What a classifier saw in many images, at the resolution of its features.
#[derive(Clone, Debug, PartialEq)]
pub struct SaliencyMaps {
    /// What each map is of.
    pub findings: Vec<String>,
    /// Tensors by image id: F × h × w, not negative.
    pub maps: Params,
    /// Tensors by image id: F logits.
    pub logits: Params,
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
    /// A classifier of other findings.
    #[error(
        "{path} knows {found}, the configuration's findings are {expected}; take what was made with this configuration"
    )]
    OtherFindings {
        /// The model file or the maps.
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
        Self { findings, maps: Params::new(), logits: Params::new() }
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
        let seen = saliency(net, &images, method)?;
        for (n, record) in records.iter().enumerate() {
            let take = |tensor: &Tensor| -> Result<ParamTensor, tch::TchError> {
                let own = tensor.f_select(0, n as i64)?.f_to_kind(Kind::Float)?;
                let shape = own.size().iter().map(|&n| n as usize).collect();
                Ok(ParamTensor::new(shape, Vec::try_from(&own.f_contiguous()?.f_view(-1)?)?))
            };
            self.maps.insert(record.id.clone(), take(&seen.maps)?);
            self.logits.insert(record.id.clone(), take(&seen.logits)?);
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
        let groups = [("maps/", &self.maps), ("logits/", &self.logits)];
        Ok(save_with_metadata(path, &groups, WHAT, &self.findings)?)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, SaliencyError> {
        let (tensors, findings) = load_with_metadata(path, WHAT)?;
        let group = |prefix: &str| {
            let own = |(name, tensor): (&str, &ParamTensor)| {
                Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
            };
            tensors.iter().filter_map(own).collect()
        };
        Ok(Self { findings, maps: group("maps/"), logits: group("logits/") })
    }
}
