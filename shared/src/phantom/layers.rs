//! What lies along each ray, gathered structure by structure.

use std::collections::BTreeMap;

use super::Structure;
use super::canvas::Plane;
use super::findings::Side;
use super::thorax::{Field, Thorax};
use super::view::View;
use crate::mask::Mask;

/// Line integrals in millimetres, one plane a kind of matter, and the masks.
#[derive(Debug)]
pub(super) struct Layers {
    /// Air-holding lung.
    pub(super) lung: Plane,
    /// Soft tissue or fluid that takes the air's place in the lung; never more than `lung` counts.
    pub(super) filling: Plane,
    /// Soft tissue added to (bone, metal, breasts, as its equivalent in soft tissue) or missing from (gas) the
    /// trunk.
    pub(super) solid: Plane,
    /// Exact masks.
    pub(super) masks: BTreeMap<Structure, Mask>,
}

impl Layers {
    /// The cavity alone: lungs with their masks, and the heart.
    pub(super) fn cavity(view: View, thorax: &Thorax) -> Self {
        let (rows, cols) = (view.rows, view.cols);
        let plane = || Plane::zeros(rows, cols);
        let masks = Structure::ALL.map(|s| (s, Mask::empty(rows, cols))).into();
        let mut layers = Self { lung: plane(), filling: plane(), solid: plane(), masks };
        let empty = || vec![0u8; rows * cols];
        let (mut left, mut right, mut heart) = (empty(), empty(), empty());
        for row in 0..rows {
            let points = view.row(row);
            for col in 0..cols {
                let (x, y) = points.at(col);
                let i = row * cols + col;
                let ray = thorax.ray(x, y);
                layers.lung.data[i] = ray.lung;
                match ray.field {
                    Field::None => {}
                    Field::Heart => heart[i] = 1,
                    Field::Lung(Side::Left) => left[i] = 1,
                    Field::Lung(Side::Right) => right[i] = 1,
                }
            }
        }
        for (structure, data) in
            [(Structure::LeftLung, left), (Structure::RightLung, right), (Structure::Heart, heart)]
        {
            layers.masks.insert(structure, Mask::from_data(rows, cols, data));
        }
        layers
    }

    /// The mask of a structure.
    pub(super) fn mask(&mut self, structure: Structure) -> &mut Mask {
        self.masks.get_mut(&structure).expect("every structure has a mask from the start")
    }

    /// Whether a pixel lies in the lung field of a side.
    pub(super) fn in_field(&self, side: Side, index: usize) -> bool {
        self.masks[&side.lung()].data()[index] != 0
    }
}
