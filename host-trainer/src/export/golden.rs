use std::collections::BTreeMap;
use std::path::PathBuf;

use shared::bundle::GoldenCase;
use shared::mask::Rle;
use shared::phantom::{PhantomParams, render};
use shared::pixel::PixelFrame;
use shared::postprocess::mask_grid;

use super::ExportError;
use crate::config::Config;
use crate::dataset::{PhantomSpec, pool_params};
use crate::evaluate::Predictor;

/// Longer side of a golden phantom, pixels: beyond `input_size`, so that the resize is tested too.
const SIZE: usize = 512;
/// Seed apart from every training's.
const SEED: u64 = 0x601D;

/// A golden picture and what stands in the list of cases about it.
pub(super) struct Golden {
    pub(super) frame: PixelFrame,
    pub(super) case: GoldenCase,
}

/// Phantoms with the masks that the shipped arithmetic gives for them, on the published mask grid.
pub(super) fn cases(config: &Config, predictor: &Predictor<'_>) -> Result<Vec<Golden>, ExportError> {
    let spec = PhantomSpec { size: SIZE, seed: SEED, ..config.phantom.clone() };
    (0..config.export.golden.max(1))
        .map(|i| case(config, predictor, i, &pool_params(&spec, i as u64)))
        .collect()
}

fn case(
    config: &Config,
    predictor: &Predictor<'_>,
    number: usize,
    params: &PhantomParams,
) -> Result<Golden, ExportError> {
    let frame = render(params)?.frame;
    let grid = mask_grid(frame.rows(), frame.cols(), config.export.mask_max_side);
    let logits = labelled(config, predictor.logits(&frame)?);
    let masks = predictor.masks(&frame, grid)?;
    let masks = labelled(config, masks.iter().map(Rle::encode).collect());
    let input = PathBuf::from("golden").join(format!("phantom-{number}.png"));
    Ok(Golden { frame, case: GoldenCase { input, masks, logits } })
}

fn labelled<T>(config: &Config, planes: Vec<T>) -> BTreeMap<String, T> {
    config.labels().into_iter().zip(planes).collect()
}
