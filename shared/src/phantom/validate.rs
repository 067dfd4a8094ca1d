use super::{Acquisition, Anatomy, Findings, PhantomParams};

/// Why a phantom cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PhantomError {
    /// A parameter lies outside the range its documentation names, or is no number.
    #[error("phantom parameter {name} is {value}: set it between {min} and {max}")]
    OutOfRange {
        /// Path of the field, as in `anatomy.heart.aspect`.
        name: String,
        /// What it holds.
        value: f64,
        /// Least allowed.
        min: f64,
        /// Most allowed.
        max: f64,
    },
    /// Black would not be darker than white.
    #[error(
        "phantom tone maps black to {black} and white to {white}: set acquisition.tone.levels to rising values"
    )]
    Levels {
        /// Grey value of black.
        black: f64,
        /// Grey value of white.
        white: f64,
    },
}

type Check = Result<(), PhantomError>;

fn within(name: impl Into<String>, value: f64, min: f64, max: f64) -> Check {
    // Written so that NaN fails.
    if value >= min && value <= max {
        return Ok(());
    }
    Err(PhantomError::OutOfRange { name: name.into(), value, min, max })
}

impl PhantomParams {
    /// Checks every parameter against the range its documentation names.
    ///
    /// # Errors
    /// The first parameter that lies outside.
    pub fn validate(&self) -> Result<(), PhantomError> {
        within("rows", self.rows as f64, 64.0, 4096.0)?;
        within("cols", self.cols as f64, 64.0, 4096.0)?;
        anatomy(&self.anatomy)?;
        findings(&self.findings)?;
        acquisition(&self.acquisition)
    }
}

fn anatomy(a: &Anatomy) -> Check {
    let h = &a.heart;
    for (name, value, min, max) in [
        ("thorax_width", a.thorax_width, 160.0, 400.0),
        ("lung_height", a.lung_height, 120.0, 400.0),
        ("thorax_depth", a.thorax_depth, 100.0, 300.0),
        ("upper_width", a.upper_width, 0.8, 1.2),
        ("dome_height", a.dome_height, 5.0, 120.0),
        ("left_dome_drop", a.left_dome_drop, -30.0, 50.0),
        ("dome_position", a.dome_position, 0.3, 0.75),
        ("mediastinum", a.mediastinum, 0.04, 0.14),
        ("aortic_knob", a.aortic_knob, 0.0, 30.0),
        ("pulmonary_trunk", a.pulmonary_trunk, 0.0, 20.0),
        ("mediastinal_shift", a.mediastinal_shift, -40.0, 40.0),
        ("scoliosis", a.scoliosis, -30.0, 30.0),
        ("heart.cardiothoracic_ratio", h.cardiothoracic_ratio, 0.3, 0.85),
        ("heart.left_share", h.left_share, 0.4, 0.85),
        ("heart.aspect", h.aspect, 0.5, 1.4),
        ("heart.sink", h.sink, -15.0, 60.0),
        ("heart.tent", h.tent, 0.0, 1.0),
        ("heart.apex_lift", h.apex_lift, 0.0, 1.0),
        ("chest_wall", a.chest_wall, 5.0, 80.0),
        ("breast", a.breast, 0.0, 90.0),
        ("bone_density", a.bone_density, 0.3, 1.6),
        ("rib_slope", a.rib_slope, 0.4, 1.8),
        ("clavicle_rise", a.clavicle_rise, -30.0, 70.0),
        ("scapula_clearance", a.scapula_clearance, -60.0, 60.0),
        ("arm_abduction", a.arm_abduction, 0.0, 120.0),
        ("lung_density", a.lung_density, 0.1, 0.5),
        ("vascularity", a.vascularity, 0.0, 3.0),
        ("gastric_bubble", a.gastric_bubble, 0.0, 50.0),
        ("bowel_gas", a.bowel_gas, 0.0, 1.0),
    ] {
        within(format!("anatomy.{name}"), value, min, max)?;
    }
    Ok(())
}

fn findings(f: &Findings) -> Check {
    for (list, items) in [("ground_glass", &f.ground_glass), ("consolidations", &f.consolidations)] {
        for (i, o) in items.iter().enumerate() {
            within(format!("findings.{list}[{i}].across"), o.across, 0.0, 1.0)?;
            within(format!("findings.{list}[{i}].down"), o.down, 0.0, 1.0)?;
            within(format!("findings.{list}[{i}].radius"), o.radius, 8.0, 120.0)?;
            within(format!("findings.{list}[{i}].density"), o.density, 0.1, 1.0)?;
        }
    }
    for (i, e) in f.effusions.iter().enumerate() {
        within(format!("findings.effusions[{i}].height"), e.height, 0.08, 0.95)?;
        within(format!("findings.effusions[{i}].meniscus"), e.meniscus, 0.0, 80.0)?;
    }
    for (i, p) in f.pneumothoraces.iter().enumerate() {
        within(format!("findings.pneumothoraces[{i}].apical_gap"), p.apical_gap, 6.0, 120.0)?;
        within(format!("findings.pneumothoraces[{i}].lateral_gap"), p.lateral_gap, 2.0, 80.0)?;
    }
    for (i, n) in f.nodules.iter().enumerate() {
        within(format!("findings.nodules[{i}].across"), n.across, 0.0, 1.0)?;
        within(format!("findings.nodules[{i}].down"), n.down, 0.0, 1.0)?;
        within(format!("findings.nodules[{i}].radius"), n.radius, 3.0, 15.0)?;
        within(format!("findings.nodules[{i}].density"), n.density, 0.3, 3.0)?;
    }
    within("findings.devices.ecg_electrodes", f64::from(f.devices.ecg_electrodes), 0.0, 6.0)
}

fn acquisition(a: &Acquisition) -> Check {
    within("acquisition.field_of_view", a.field_of_view, 150.0, 800.0)?;
    within("acquisition.offset[0]", a.offset[0], -120.0, 120.0)?;
    within("acquisition.offset[1]", a.offset[1], -120.0, 120.0)?;
    within("acquisition.rotation", a.rotation, -30.0, 30.0)?;
    within("acquisition.tube_voltage", a.tube_voltage, 50.0, 150.0)?;
    within("acquisition.photons", a.photons, 1e3, 1e8)?;
    within("acquisition.scatter", a.scatter, 0.0, 3.0)?;
    within("acquisition.blur", a.blur, 0.0, 1.5)?;
    if let Some(c) = &a.collimation {
        for (i, &hidden) in c.hidden.iter().enumerate() {
            within(format!("acquisition.collimation.hidden[{i}]"), hidden, 0.0, 0.25)?;
        }
        within("acquisition.collimation.rotation", c.rotation, -15.0, 15.0)?;
    }
    if let Some(m) = &a.marker {
        within("acquisition.marker.inset", m.inset, 0.02, 0.3)?;
        within("acquisition.marker.down", m.down, 0.02, 0.95)?;
        within("acquisition.marker.height", m.height, 0.01, 0.08)?;
    }
    for (i, &share) in a.redaction.iter().flatten().enumerate() {
        within(format!("acquisition.redaction[{}][{}]", i / 2, i % 2), share, 0.0, 0.3)?;
    }
    let t = &a.tone;
    within("acquisition.tone.equalization", t.equalization, 0.0, 0.9)?;
    within("acquisition.tone.detail", t.detail, 0.0, 3.0)?;
    within("acquisition.tone.detail_scale", t.detail_scale, 2.0, 60.0)?;
    within("acquisition.tone.low_percentile", t.low_percentile, 0.0, 30.0)?;
    within("acquisition.tone.high_percentile", t.high_percentile, 60.0, 100.0)?;
    within("acquisition.tone.headroom[0]", t.headroom[0], -0.3, 1.0)?;
    within("acquisition.tone.headroom[1]", t.headroom[1], -0.3, 1.0)?;
    within("acquisition.tone.gamma", t.gamma, 0.3, 3.0)?;
    within("acquisition.tone.sigmoid", t.sigmoid, 0.0, 8.0)?;
    within("acquisition.tone.levels[0]", t.levels[0], 0.0, 1.0)?;
    within("acquisition.tone.levels[1]", t.levels[1], 0.0, 1.0)?;
    let [black, white] = t.levels;
    if black >= white {
        return Err(PhantomError::Levels { black, white });
    }
    Ok(())
}
