use serde::{Deserialize, Serialize};

use super::Structure;

/// A side of the patient.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The patient's right, image left.
    Right,
    /// The patient's left, image right.
    Left,
}

/// What is wrong with the patient, and what was put into or onto them. All empty: a healthy chest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Findings {
    /// Ground-glass opacities.
    pub ground_glass: Vec<Opacity>,
    /// Consolidations.
    pub consolidations: Vec<Opacity>,
    /// Pleural effusions.
    pub effusions: Vec<Effusion>,
    /// Pneumothoraces.
    pub pneumothoraces: Vec<PleuralAir>,
    /// Nodules.
    pub nodules: Vec<Nodule>,
    /// Support devices.
    pub devices: Devices,
}

/// A patch of lung that lost air.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opacity {
    /// The lung it lies in.
    pub side: Side,
    /// Centre between the medial (0) and the lateral border (1) of the lung field.
    pub across: f64,
    /// Centre between the apex (0) and the dome (1).
    pub down: f64,
    /// Radius, mm, 8 to 120.
    pub radius: f64,
    /// Share of the air that is lost at the centre, 0.1 to 1.
    pub density: f64,
}

/// Free pleural fluid in an upright patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effusion {
    /// The hemithorax.
    pub side: Side,
    /// Height of the fluid over the costophrenic angle as a share of the hemithorax, 0.08 to 0.95.
    pub height: f64,
    /// How far the fluid climbs along the chest wall, mm, 0 to 80.
    pub meniscus: f64,
}

/// Air in the pleural space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PleuralAir {
    /// The hemithorax.
    pub side: Side,
    /// From the apex of the cage to the apex of the lung, mm, 6 to 120.
    pub apical_gap: f64,
    /// From the chest wall to the lung, mm, 2 to 80.
    pub lateral_gap: f64,
}

/// A round lesion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodule {
    /// The lung it lies in.
    pub side: Side,
    /// Centre between the medial (0) and the lateral border (1) of the lung field.
    pub across: f64,
    /// Centre between the apex (0) and the dome (1).
    pub down: f64,
    /// Radius, mm, 3 to 15.
    pub radius: f64,
    /// Density relative to soft tissue, 0.3 to 3 (above 1.5: calcified).
    pub density: f64,
}

/// Tubes, lines and implants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Endotracheal tube, tip above the carina.
    pub endotracheal_tube: bool,
    /// Central venous line from the jugular vein of this side, tip near the cavoatrial junction.
    pub central_line: Option<Side>,
    /// Nasogastric tube, tip in the stomach.
    pub nasogastric_tube: bool,
    /// Pacemaker under the clavicle of this side, with one or two leads.
    pub pacemaker: Option<Side>,
    /// ECG electrodes, each with its wire, 0 to 6.
    pub ecg_electrodes: u8,
}

impl Devices {
    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Side {
    /// The sign of x on this side: −1 on the patient's right, +1 on the left.
    pub(super) fn sign(self) -> f64 {
        match self {
            Self::Right => -1.0,
            Self::Left => 1.0,
        }
    }

    /// The lung of this side.
    pub(super) fn lung(self) -> Structure {
        match self {
            Self::Right => Structure::RightLung,
            Self::Left => Structure::LeftLung,
        }
    }
}
