use serde::{Deserialize, Serialize};

use super::findings::Side;

/// How the radiograph was taken and turned into grey values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acquisition {
    /// What the longer side of the frame covers, mm, 150 to 800.
    pub field_of_view: f64,
    /// Shift of the patient in the frame to the right and down, mm, each −120 to 120.
    pub offset: [f64; 2],
    /// Rotation of the patient in the image plane, clockwise, degrees, −30 to 30.
    pub rotation: f64,
    /// Tube voltage, kV, 50 to 150: low voltages raise the contrast of bone.
    pub tube_voltage: f64,
    /// Photons that would reach the detector through air, per mm², 1e3 to 1e8: few make a noisy picture.
    pub photons: f64,
    /// Scattered over primary fluence in the lung, 0 to 3.
    pub scatter: f64,
    /// Standard deviation of the focal spot's and detector's blur, mm, 0 to 1.5.
    pub blur: f64,
    /// Borders blacked by the collimator; none where it opened wider than the detector.
    pub collimation: Option<Collimation>,
    /// Lead marker; none if absent.
    pub marker: Option<Marker>,
    /// Blackened corners, as left by de-identification of film: left and right, width and height as shares of
    /// the frame, each 0 (absent) to 0.3.
    pub redaction: [[f64; 2]; 2],
    /// Grey-scale processing.
    pub tone: Tone,
}

/// The collimator's opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collimation {
    /// Shares of the frame's side hidden at left, top, right and bottom, each 0 to 0.25.
    pub hidden: [f64; 4],
    /// Rotation against the frame, degrees, −15 to 15.
    pub rotation: f64,
}

/// A letter of lead beside the patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The letter, and the side of the patient it stands on.
    pub side: Side,
    /// Distance from that edge of the frame as a share of its width, 0.02 to 0.3.
    pub inset: f64,
    /// Distance from the top edge as a share of its height, 0.02 to 0.95.
    pub down: f64,
    /// Height of the letter as a share of the frame's height, 0.01 to 0.08.
    pub height: f64,
    /// Whether it stands in a black box, as software burns it in.
    pub boxed: bool,
}

/// From log exposure to grey values: compression of latitude, enhancement of detail, window, curve, range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tone {
    /// Share of the coarse contrast taken away, 0 to 0.9.
    pub equalization: f64,
    /// Gain on fine detail, 0 (none) to 3.
    pub detail: f64,
    /// Scale of what counts as detail, mm, 2 to 60.
    pub detail_scale: f64,
    /// Lower end of the window as a percentile of the exposed body's log exposure, 0 to 30.
    pub low_percentile: f64,
    /// Upper end of the window as a percentile, 60 to 100.
    pub high_percentile: f64,
    /// Headroom below and above the window, as shares of it, each −0.3 to 1.
    pub headroom: [f64; 2],
    /// Exponent on the windowed value, 0.3 to 3: below 1 brightens.
    pub gamma: f64,
    /// Steepness of the film-like S curve, 0 (straight) to 8.
    pub sigmoid: f64,
    /// Grey values of black and white as shares of the 16-bit range; black below white.
    pub levels: [f64; 2],
}

impl Default for Acquisition {
    /// A well-exposed posteroanterior radiograph on a digital detector.
    fn default() -> Self {
        Self {
            field_of_view: 370.0,
            offset: [0.0, 0.0],
            rotation: 0.0,
            tube_voltage: 110.0,
            photons: 3e6,
            scatter: 0.3,
            blur: 0.2,
            collimation: None,
            marker: None,
            redaction: [[0.0; 2]; 2],
            tone: Tone::default(),
        }
    }
}

impl Default for Tone {
    fn default() -> Self {
        Self {
            equalization: 0.25,
            detail: 0.5,
            detail_scale: 12.0,
            low_percentile: 2.0,
            high_percentile: 99.5,
            headroom: [0.15, 0.05],
            gamma: 1.0,
            sigmoid: 1.5,
            levels: [0.0, 1.0],
        }
    }
}
