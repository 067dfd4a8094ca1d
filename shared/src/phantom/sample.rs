//! Drawing patients, findings and exposures at random, with the variety of a department's day.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::findings::{Devices, Effusion, Findings, Nodule, Opacity, PleuralAir, Side};
use super::texture::{Stream, stream};
use super::{Acquisition, Anatomy, Collimation, HeartShape, Marker, PhantomParams, Tone};

impl PhantomParams {
    /// A random patient, findings at the frequencies of a hospital's chest radiographs and an exposure in one
    /// of four styles (film, raw digital, processed digital, bedside). The same seed is the same patient at
    /// every size.
    pub fn random(seed: u64, rows: usize, cols: usize) -> Self {
        let bedside = stream(seed, Stream::Acquisition).random_bool(0.3);
        let anatomy = anatomy(&mut stream(seed, Stream::Anatomy), bedside);
        let findings = findings(&mut stream(seed, Stream::Findings), bedside);
        let acquisition = acquisition(&mut stream(seed, Stream::Acquisition), &anatomy, bedside, rows, cols);
        Self { rows, cols, seed, anatomy, findings, acquisition }
    }
}

/// A bell-shaped draw (the sum of six uniform ones): mean, standard deviation, bounds.
fn around(rng: &mut ChaCha8Rng, mean: f64, sd: f64, min: f64, max: f64) -> f64 {
    let normal: f64 = (0..6).map(|_| rng.random_range(-1.0..=1.0)).sum::<f64>() * 0.5_f64.sqrt();
    (mean + sd * normal).clamp(min, max)
}

/// Log-uniform. The logarithm's rounding must not leave the bounds.
fn spread(rng: &mut ChaCha8Rng, min: f64, max: f64) -> f64 {
    rng.random_range(min.ln()..max.ln()).exp().clamp(min, max)
}

fn anatomy(rng: &mut ChaCha8Rng, bedside: bool) -> Anatomy {
    let thorax_width = around(rng, 285.0, 22.0, 215.0, 350.0);
    // Poor inspiration lifts the domes and widens everything above.
    let inspiration =
        if bedside { around(rng, 0.74, 0.1, 0.5, 0.98) } else { around(rng, 0.9, 0.1, 0.62, 1.15) };
    let poor = (0.95 - inspiration).max(0.0);
    let cardiothoracic_ratio = if rng.random_bool(0.3) {
        rng.random_range(0.5..0.74)
    } else {
        around(rng, 0.45 + 0.15 * poor, 0.045, 0.34, 0.58)
    };
    Anatomy {
        thorax_width,
        // Products of draws, each within its own bounds, may leave those of the parameter.
        lung_height: (inspiration * thorax_width).clamp(120.0, 400.0),
        thorax_depth: around(rng, 190.0, 22.0, 140.0, 260.0),
        upper_width: around(rng, 1.0, 0.05, 0.86, 1.14),
        dome_height: (around(rng, 0.165, 0.05, 0.05, 0.3) * thorax_width * inspiration).clamp(5.0, 120.0),
        left_dome_drop: around(rng, 8.0, 9.0, -18.0, 34.0),
        dome_position: around(rng, 0.52, 0.06, 0.38, 0.68),
        mediastinum: around(rng, 0.071 + 0.03 * poor, 0.012, 0.045, 0.125),
        aortic_knob: around(rng, 11.0, 5.0, 0.0, 26.0),
        pulmonary_trunk: around(rng, 6.0, 3.5, 0.0, 17.0),
        mediastinal_shift: around(rng, 0.0, 5.0, -24.0, 24.0),
        scoliosis: around(rng, 0.0, 4.0, -22.0, 22.0),
        heart: HeartShape {
            cardiothoracic_ratio,
            left_share: around(rng, 0.67, 0.055, 0.5, 0.8),
            aspect: (around(rng, 0.84 - 0.2 * poor, 0.12, 0.56, 1.25)
                * (0.47 / cardiothoracic_ratio).powf(0.3))
            .clamp(0.5, 1.4),
            sink: around(rng, 17.0, 8.0, 1.0, 45.0),
            tent: rng.random_range(0.0..1.0),
            apex_lift: rng.random_range(0.0..1.0),
        },
        chest_wall: spread(rng, 10.0, 55.0),
        breast: if rng.random_bool(0.4) { rng.random_range(10.0..75.0) } else { 0.0 },
        bone_density: around(rng, 1.0, 0.22, 0.45, 1.5),
        rib_slope: around(rng, 1.0, 0.22, 0.5, 1.6),
        clavicle_rise: around(rng, 18.0, 14.0, -20.0, 60.0),
        scapula_clearance: around(rng, if bedside { -6.0 } else { 16.0 }, 18.0, -45.0, 55.0),
        arm_abduction: if rng.random_bool(0.12) {
            rng.random_range(60.0..110.0)
        } else {
            around(rng, 24.0, 12.0, 2.0, 60.0)
        },
        lung_density: around(rng, 0.25 + 0.15 * poor, 0.05, 0.13, 0.45),
        vascularity: spread(rng, 0.4, 1.9),
        gastric_bubble: if rng.random_bool(0.75) { rng.random_range(10.0..44.0) } else { 0.0 },
        bowel_gas: if rng.random_bool(0.6) { rng.random_range(0.0..1.0) } else { 0.0 },
    }
}

fn side(rng: &mut ChaCha8Rng) -> Side {
    if rng.random_bool(0.5) { Side::Right } else { Side::Left }
}

fn findings(rng: &mut ChaCha8Rng, bedside: bool) -> Findings {
    let often = if bedside { 1.8 } else { 1.0 };
    let mut findings = Findings::default();
    let opacity = |rng: &mut ChaCha8Rng, dense: bool| Opacity {
        side: side(rng),
        across: rng.random_range(0.1..0.95),
        down: rng.random_range(0.2..1.0),
        radius: spread(rng, 16.0, if dense { 60.0 } else { 85.0 }),
        density: if dense { rng.random_range(0.45..0.85) } else { rng.random_range(0.15..0.42) },
    };
    if rng.random_bool(0.16 * often) {
        for _ in 0..rng.random_range(1..5) {
            findings.ground_glass.push(opacity(rng, false));
        }
    }
    if rng.random_bool(0.1 * often) {
        for _ in 0..rng.random_range(1..3) {
            findings.consolidations.push(opacity(rng, true));
        }
    }
    if rng.random_bool(0.11 * often) {
        let first = side(rng);
        let count = if rng.random_bool(0.3) { 2 } else { 1 };
        for k in 0..count {
            let side = match (first, k) {
                (side, 0) => side,
                (Side::Right, _) => Side::Left,
                (Side::Left, _) => Side::Right,
            };
            let height = 0.1 + 0.6 * rng.random::<f64>().powi(2);
            findings.effusions.push(Effusion { side, height, meniscus: rng.random_range(8.0..45.0) });
        }
    }
    if rng.random_bool(0.03 * often) {
        let apical_gap = spread(rng, 10.0, 60.0);
        let lateral_gap = apical_gap * rng.random_range(0.25..0.9);
        findings.pneumothoraces.push(PleuralAir { side: side(rng), apical_gap, lateral_gap });
    }
    if rng.random_bool(0.1) {
        for _ in 0..rng.random_range(1..4) {
            findings.nodules.push(Nodule {
                side: side(rng),
                across: rng.random_range(0.05..0.95),
                down: rng.random_range(0.1..0.95),
                radius: spread(rng, 3.0, 15.0),
                density: if rng.random_bool(0.2) {
                    rng.random_range(1.5..2.8)
                } else {
                    rng.random_range(0.6..1.1)
                },
            });
        }
    }
    findings.devices = devices(rng, bedside);
    findings
}

fn devices(rng: &mut ChaCha8Rng, bedside: bool) -> Devices {
    let ill = if bedside { 1.0 } else { 0.06 };
    let intubated = rng.random_bool(0.45 * ill);
    Devices {
        endotracheal_tube: intubated,
        central_line: rng
            .random_bool(0.5 * ill)
            .then(|| if rng.random_bool(0.75) { Side::Right } else { Side::Left }),
        nasogastric_tube: rng.random_bool(if intubated { 0.8 } else { 0.15 * ill }),
        pacemaker: rng.random_bool(0.05).then(|| if rng.random_bool(0.8) { Side::Left } else { Side::Right }),
        ecg_electrodes: if rng.random_bool(0.75 * ill) { rng.random_range(2..=6) } else { 0 },
    }
}

fn acquisition(
    rng: &mut ChaCha8Rng,
    anatomy: &Anatomy,
    bedside: bool,
    rows: usize,
    cols: usize,
) -> Acquisition {
    // The first draw told bedside from upright.
    let _: f64 = rng.random();
    let lying = if bedside { 1.0 } else { 0.0 };
    // Wide enough for the thorax on the frame's shorter side.
    let aspect = rows.max(cols) as f64 / cols as f64;
    let fit = (anatomy.thorax_width * around(rng, 1.23, 0.09, 1.05, 1.5) * aspect).max(
        (anatomy.lung_height + 20.0) * around(rng, 1.18, 0.08, 1.03, 1.45) * rows.max(cols) as f64
            / rows as f64,
    );
    let style = rng.random_range(0..10);
    let tone = if bedside { bedside_tone(rng) } else { upright_tone(rng, style) };
    let film = !bedside && style < 3;
    Acquisition {
        field_of_view: fit.clamp(220.0, 700.0),
        offset: [around(rng, 0.0, 8.0, -28.0, 28.0), around(rng, 0.0, 10.0, -30.0, 30.0)],
        rotation: around(rng, 0.0, 1.5 + 3.0 * lying, -14.0, 14.0),
        tube_voltage: if bedside { rng.random_range(70.0..100.0) } else { rng.random_range(90.0..140.0) },
        photons: spread(rng, 4e5, 2e7) * (1.0 - 0.7 * lying),
        scatter: if bedside { rng.random_range(0.4..1.3) } else { rng.random_range(0.1..0.6) },
        blur: rng.random_range(0.1..0.5),
        collimation: rng.random_bool(if film { 0.1 } else { 0.3 }).then(|| Collimation {
            hidden: std::array::from_fn(|_| {
                if rng.random_bool(0.5) { rng.random_range(0.005..0.06) } else { 0.0 }
            }),
            rotation: around(rng, 0.0, 1.5 + 2.0 * lying, -9.0, 9.0),
        }),
        marker: rng.random_bool(0.65).then(|| Marker {
            side: side(rng),
            inset: rng.random_range(0.03..0.22),
            down: if rng.random_bool(0.75) {
                rng.random_range(0.02..0.12)
            } else {
                rng.random_range(0.2..0.9)
            },
            height: rng.random_range(0.018..0.045),
            boxed: rng.random_bool(0.5),
        }),
        redaction: if film && rng.random_bool(0.7) {
            let height = rng.random_range(0.03..0.07);
            std::array::from_fn(|_| [rng.random_range(0.05..0.2), height])
        } else {
            [[0.0; 2]; 2]
        },
        tone,
    }
}

fn upright_tone(rng: &mut ChaCha8Rng, style: u32) -> Tone {
    match style {
        // Film: little processing, dense parts white, air not quite black.
        0..3 => Tone {
            equalization: rng.random_range(0.0..0.15),
            detail: rng.random_range(0.0..0.3),
            detail_scale: rng.random_range(4.0..20.0),
            low_percentile: rng.random_range(0.5..3.0),
            high_percentile: rng.random_range(88.0..98.0),
            headroom: [rng.random_range(0.2..0.9), rng.random_range(-0.05..0.05)],
            gamma: rng.random_range(0.6..1.1),
            sigmoid: rng.random_range(0.5..2.5),
            levels: [rng.random_range(0.0..0.15), rng.random_range(0.92..1.0)],
        },
        // Raw digital: straight, dark, only part of the range.
        3..6 => Tone {
            equalization: rng.random_range(0.0..0.3),
            detail: rng.random_range(0.0..0.5),
            detail_scale: rng.random_range(4.0..20.0),
            low_percentile: rng.random_range(0.5..3.0),
            high_percentile: rng.random_range(97.0..100.0),
            headroom: [rng.random_range(0.15..0.5), rng.random_range(0.0..0.2)],
            gamma: rng.random_range(0.7..1.2),
            sigmoid: rng.random_range(0.0..1.5),
            levels: [rng.random_range(0.0..0.1), rng.random_range(0.35..0.7)],
        },
        // Overexposed window: the mediastinum drowns in white.
        6 => Tone {
            equalization: rng.random_range(0.0..0.15),
            detail: rng.random_range(0.0..0.4),
            detail_scale: rng.random_range(4.0..20.0),
            low_percentile: rng.random_range(0.5..4.0),
            high_percentile: rng.random_range(66.0..86.0),
            headroom: [rng.random_range(0.0..0.5), rng.random_range(-0.15..0.0)],
            gamma: rng.random_range(0.7..1.2),
            sigmoid: rng.random_range(1.0..4.0),
            levels: [0.0, 1.0],
        },
        // Processed digital.
        _ => Tone {
            equalization: rng.random_range(0.15..0.55),
            detail: rng.random_range(0.3..1.4),
            detail_scale: rng.random_range(4.0..25.0),
            low_percentile: rng.random_range(0.5..3.0),
            high_percentile: rng.random_range(98.5..100.0),
            headroom: [rng.random_range(0.0..0.2), rng.random_range(0.0..0.1)],
            gamma: rng.random_range(0.8..1.5),
            sigmoid: rng.random_range(0.5..3.0),
            levels: [0.0, rng.random_range(0.85..1.0)],
        },
    }
}

/// Bedside pictures are strongly equalized and sharpened: flat grey with crisp lines.
fn bedside_tone(rng: &mut ChaCha8Rng) -> Tone {
    Tone {
        equalization: rng.random_range(0.3..0.75),
        detail: rng.random_range(0.4..1.8),
        detail_scale: rng.random_range(3.0..18.0),
        low_percentile: rng.random_range(0.5..4.0),
        high_percentile: rng.random_range(98.0..100.0),
        headroom: [rng.random_range(0.0..0.5), rng.random_range(0.0..0.35)],
        gamma: rng.random_range(0.6..1.3),
        sigmoid: rng.random_range(0.0..2.5),
        levels: [rng.random_range(0.0..0.12), rng.random_range(0.75..1.0)],
    }
}
