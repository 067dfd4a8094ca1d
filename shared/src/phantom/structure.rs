use serde::{Deserialize, Serialize};

/// What a phantom holds an exact mask of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The patient's left lung field (image right): lateral of mediastinum and heart, above the diaphragm's
    /// dome, without pleural effusion, with everything else that lies over it.
    LeftLung,
    /// The patient's right lung field (image left), as [`Structure::LeftLung`].
    RightLung,
    /// The cardiac silhouette, including what lies over the mediastinum and below the dome.
    Heart,
    /// Airspace opacity: ground glass and consolidation together, as in the CheXpert label hierarchy.
    LungOpacity,
    /// Opacity so dense that vessels drown in it.
    Consolidation,
    /// Free fluid between the meniscus and the diaphragm.
    PleuralEffusion,
    /// Air in the pleural space, between the chest wall and the visceral pleural line.
    Pneumothorax,
    /// Round soft-tissue lesions of at most 3 cm.
    LungNodule,
    /// Tubes, lines, a pacemaker with its leads, ECG electrodes and wires: their union.
    SupportDevices,
}

impl Structure {
    /// Every structure, in the order of the masks.
    pub const ALL: [Self; 9] = [
        Self::LeftLung,
        Self::RightLung,
        Self::Heart,
        Self::LungOpacity,
        Self::Consolidation,
        Self::PleuralEffusion,
        Self::Pneumothorax,
        Self::LungNodule,
        Self::SupportDevices,
    ];

    /// The class label in manifests and file names, snake case.
    pub fn label(self) -> &'static str {
        match self {
            Self::LeftLung => "left_lung",
            Self::RightLung => "right_lung",
            Self::Heart => "heart",
            Self::LungOpacity => "lung_opacity",
            Self::Consolidation => "consolidation",
            Self::PleuralEffusion => "pleural_effusion",
            Self::Pneumothorax => "pneumothorax",
            Self::LungNodule => "lung_nodule",
            Self::SupportDevices => "support_devices",
        }
    }
}
