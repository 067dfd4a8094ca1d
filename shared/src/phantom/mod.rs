//! Synthetic frontal chest radiographs with exact masks.
//!
//! A phantom is computed the way a radiograph comes about: structures are shapes in the patient's millimetres
//! ([`Anatomy`], [`Findings`]), each gives the matter along every ray, Beer–Lambert's law with scatter, blur and
//! quantum noise gives the exposure, and grey-scale processing ([`Acquisition`]) the picture. Masks come from
//! the same shapes at the same pixel centres, so they are exact at every size and rotation.
//!
//! Conventions follow the strong masks of JSRT and Wingspan: lungs are the visible fields, the heart is the
//! whole silhouette. Dense is bright (MONOCHROME2) and the patient's right lies at the image's left.
//!
//! Equal [`PhantomParams`] give equal samples on every run of a build. Every structure draws from a random
//! stream of its own, so that one finding more leaves the patient as they were.
//!
//! ```
//! use shared::phantom::{PhantomParams, Structure, render};
//!
//! let phantom = render(&PhantomParams::random(7, 256, 256))?;
//! assert!(phantom.mask(Structure::Heart).area() > 0);
//! # Ok::<(), shared::phantom::PhantomError>(())
//! ```

mod acquisition;
mod anatomy;
mod canvas;
mod curve;
mod detector;
mod devices;
mod display;
mod findings;
mod layers;
mod lesions;
mod sample;
mod skeleton;
mod structure;
#[cfg(test)]
mod tests;
mod texture;
mod thorax;
mod trunk;
mod validate;
mod vessels;
mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use acquisition::{Acquisition, Collimation, Marker, Tone};
pub use anatomy::{Anatomy, HeartShape};
pub use findings::{Devices, Effusion, Findings, Nodule, Opacity, PleuralAir, Side};
pub use structure::Structure;
pub use validate::PhantomError;

use crate::mask::Mask;
use crate::pixel::PixelFrame;

/// All that a phantom is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomParams {
    /// Rows of the picture, 64 to 4096.
    pub rows: usize,
    /// Columns of the picture, 64 to 4096.
    pub cols: usize,
    /// Seed of everything that these parameters leave open: vessels, textures, noise, small deviations of
    /// shape.
    pub seed: u64,
    /// The body.
    pub anatomy: Anatomy,
    /// What is wrong with it.
    pub findings: Findings,
    /// How the picture was taken.
    pub acquisition: Acquisition,
}

/// A drawn phantom.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// The radiograph.
    pub frame: PixelFrame,
    /// A mask for every structure, of the frame's size; empty where the structure is absent or out of sight.
    pub masks: BTreeMap<Structure, Mask>,
    /// What it was drawn from.
    pub params: PhantomParams,
}

impl Phantom {
    /// The mask of a structure.
    pub fn mask(&self, structure: Structure) -> &Mask {
        &self.masks[&structure]
    }

    /// Image-level labels: every structure, and whether any of it is in sight.
    pub fn labels(&self) -> impl Iterator<Item = (Structure, bool)> {
        self.masks.iter().map(|(&structure, mask)| (structure, !mask.is_empty()))
    }
}

/// The devices of a phantom without the phantom.
#[derive(Clone, Debug)]
pub struct DrawnDevices {
    /// Millimetres of soft tissue that attenuate as much, row by row.
    pub thickness: Vec<f32>,
    /// Where they lie; empty where there are none.
    pub mask: Mask,
    /// Both lung fields of the phantom, to lay them where they belong.
    pub lungs: Mask,
}

/// Draws the devices of [`PhantomParams::findings`] where [`render`] draws them, and nothing else: to lay them over
/// radiographs of people.
///
/// # Errors
/// [`PhantomError`] names the parameter that is out of its range.
pub fn draw_devices(params: &PhantomParams) -> Result<DrawnDevices, PhantomError> {
    params.validate()?;
    let (thorax, view) = projection(params);
    let mut layers = layers::Layers::cavity(view, &thorax);
    devices::draw(&mut layers, view, &thorax, &params.findings.devices, params.seed);
    let mut lungs = layers.mask(Structure::LeftLung).clone();
    lungs.merge(layers.mask(Structure::RightLung));
    let mask = layers.mask(Structure::SupportDevices).clone();
    Ok(DrawnDevices { thickness: layers.solid.data, mask, lungs })
}

fn projection(params: &PhantomParams) -> (thorax::Thorax, view::View) {
    let thorax = thorax::Thorax::new(params);
    // The middle of the lungs comes to the middle of the frame.
    let view = view::View::new(params.rows, params.cols, &params.acquisition, 0.5 * thorax.height + 8.0);
    (thorax, view)
}

/// Draws a phantom.
///
/// # Errors
/// [`PhantomError`] names the parameter that is out of its range.
pub fn render(params: &PhantomParams) -> Result<Phantom, PhantomError> {
    params.validate()?;
    let (anatomy, seed) = (&params.anatomy, params.seed);
    let (thorax, view) = projection(params);
    let (soft, bone) = detector::attenuation(params.acquisition.tube_voltage);

    let mut layers = layers::Layers::cavity(view, &thorax);
    vessels::draw(&mut layers.filling, view, &thorax, anatomy, seed);
    lesions::draw(&mut layers, view, &thorax, &params.findings, seed);
    trunk::organs(&mut layers.solid, view, &thorax, anatomy, seed);
    skeleton::draw(&mut layers.solid, view, &thorax, anatomy, bone / soft - 1.0, seed);
    devices::draw(&mut layers, view, &thorax, &params.findings.devices, seed);
    let body = trunk::body(view, &thorax, anatomy, seed);

    let hidden = display::hidden(view, &params.acquisition);
    let signal = detector::expose(&layers, &body, view, params);
    let samples = display::develop(signal, &body, view, &params.acquisition, &hidden);
    let mut masks = layers.masks;
    for mask in masks.values_mut().filter(|mask| !mask.is_empty()) {
        *mask = Mask::from_fn(view.rows, view.cols, |row, col| mask.get(row, col) && !hidden(row, col));
    }
    let frame =
        PixelFrame::new(view.rows, view.cols, samples).expect("a sample for each of at least 64 × 64 pixels");
    Ok(Phantom { frame, masks, params: params.clone() })
}
