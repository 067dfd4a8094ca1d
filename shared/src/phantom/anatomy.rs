use serde::{Deserialize, Serialize};

/// The body, in millimetres at the detector. Coordinates: x to the image's right (the patient's left) from the
/// midline, y down from the lung apices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anatomy {
    /// Largest inner width of the rib cage, mm, 160 to 400.
    pub thorax_width: f64,
    /// From the apices to the right lateral costophrenic angle, mm, 120 to 400.
    pub lung_height: f64,
    /// Largest inner depth of the rib cage, mm, 100 to 300.
    pub thorax_depth: f64,
    /// Width of the cage at its top as a share of the usual, 0.8 to 1.2: below 1 a cone, above 1 a barrel.
    pub upper_width: f64,
    /// Height of the right dome over its costophrenic angle, mm, 5 to 120.
    pub dome_height: f64,
    /// How much lower the left dome stands than the right, mm, −30 to 50.
    pub left_dome_drop: f64,
    /// Position of the domes' tops between midline (0) and chest wall (1), 0.3 to 0.75.
    pub dome_position: f64,
    /// Half the width of the upper mediastinum as a share of the thorax width, 0.04 to 0.14.
    pub mediastinum: f64,
    /// Bulge of the aortic knob, mm, 0 to 30.
    pub aortic_knob: f64,
    /// Bulge of the pulmonary trunk, mm, 0 to 20.
    pub pulmonary_trunk: f64,
    /// Shift of mediastinum and heart to the patient's left against the cage (axial rotation), mm, −40 to 40.
    pub mediastinal_shift: f64,
    /// Lateral bow of the spine, mm, −30 to 30.
    pub scoliosis: f64,
    /// The heart.
    pub heart: HeartShape,
    /// Fat and muscle over the ribs, mm, 5 to 80.
    pub chest_wall: f64,
    /// Thickness of the breasts, mm, 0 (absent) to 90.
    pub breast: f64,
    /// Mineral content of bone relative to a healthy adult's, 0.3 to 1.6.
    pub bone_density: f64,
    /// Share of the way that ribs fall from spine to sternum relative to the usual, 0.4 to 1.8.
    pub rib_slope: f64,
    /// Height of the clavicles' lateral ends over their medial ones, mm, −30 to 70.
    pub clavicle_rise: f64,
    /// Distance of the shoulder blades' medial borders from the chest wall, mm; negative: over the lung; −60 to 60.
    pub scapula_clearance: f64,
    /// Angle of the upper arms from the trunk, degrees, 0 to 120.
    pub arm_abduction: f64,
    /// Density of aerated lung relative to water, 0.1 to 0.5.
    pub lung_density: f64,
    /// Strength of pulmonary vessels relative to the usual, 0 to 3.
    pub vascularity: f64,
    /// Radius of the gastric bubble, mm, 0 (absent) to 50.
    pub gastric_bubble: f64,
    /// Amount of bowel gas, 0 to 1.
    pub bowel_gas: f64,
}

/// The cardiac silhouette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartShape {
    /// Width over the inner width of the thorax, 0.3 to 0.85; above 0.5 the heart is enlarged.
    pub cardiothoracic_ratio: f64,
    /// Share of its width left of the midline, 0.4 to 0.85.
    pub left_share: f64,
    /// Height over width, 0.5 to 1.4.
    pub aspect: f64,
    /// Depth of the lower border below the domes, mm, −15 to 60.
    pub sink: f64,
    /// Pointedness of the top, 0 (round) to 1 (tent).
    pub tent: f64,
    /// Height of the left apex, 0 (low) to 1 (lifted).
    pub apex_lift: f64,
}

impl Default for Anatomy {
    /// An average adult in full inspiration.
    fn default() -> Self {
        Self {
            thorax_width: 285.0,
            lung_height: 260.0,
            thorax_depth: 190.0,
            upper_width: 1.0,
            dome_height: 42.0,
            left_dome_drop: 10.0,
            dome_position: 0.5,
            mediastinum: 0.07,
            aortic_knob: 10.0,
            pulmonary_trunk: 6.0,
            mediastinal_shift: 0.0,
            scoliosis: 0.0,
            heart: HeartShape::default(),
            chest_wall: 22.0,
            breast: 0.0,
            bone_density: 1.0,
            rib_slope: 1.0,
            clavicle_rise: 18.0,
            scapula_clearance: 15.0,
            arm_abduction: 25.0,
            lung_density: 0.24,
            vascularity: 1.0,
            gastric_bubble: 26.0,
            bowel_gas: 0.3,
        }
    }
}

impl Default for HeartShape {
    fn default() -> Self {
        Self {
            cardiothoracic_ratio: 0.46,
            left_share: 0.68,
            aspect: 0.83,
            sink: 16.0,
            tent: 0.4,
            apex_lift: 0.4,
        }
    }
}
