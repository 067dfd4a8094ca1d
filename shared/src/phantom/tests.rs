use proptest::prelude::*;

use super::*;

/// Every finding at once, spread over both lungs.
fn ill() -> Findings {
    let opacity = |side, down| Opacity { side, across: 0.5, down, radius: 24.0, density: 0.7 };
    Findings {
        ground_glass: vec![opacity(Side::Left, 0.4)],
        consolidations: vec![opacity(Side::Left, 0.75)],
        effusions: vec![Effusion { side: Side::Right, height: 0.3, meniscus: 20.0 }],
        pneumothoraces: vec![PleuralAir { side: Side::Right, apical_gap: 25.0, lateral_gap: 12.0 }],
        nodules: vec![Nodule { side: Side::Left, across: 0.4, down: 0.2, radius: 6.0, density: 1.0 }],
        devices: Devices {
            endotracheal_tube: true,
            central_line: Some(Side::Right),
            nasogastric_tube: true,
            pacemaker: Some(Side::Left),
            ecg_electrodes: 4,
        },
    }
}

fn plain(rows: usize, cols: usize) -> PhantomParams {
    let (anatomy, findings, acquisition) = (Anatomy::default(), Findings::default(), Acquisition::default());
    PhantomParams { rows, cols, seed: 1, anatomy, findings, acquisition }
}

fn draw(params: &PhantomParams) -> Phantom {
    render(params).expect("valid parameters")
}

/// Mean grey under a mask.
fn mean(phantom: &Phantom, mask: &Mask) -> f64 {
    let pairs = phantom.frame.samples().iter().zip(mask.data());
    let sum: f64 = pairs.filter(|(_, m)| **m != 0).map(|(&v, _)| f64::from(v)).sum();
    sum / mask.area() as f64
}

/// Mean column and row of a mask.
fn centre(mask: &Mask) -> (f64, f64) {
    let (mut x, mut y) = (0.0, 0.0);
    for row in 0..mask.rows() {
        for col in (0..mask.cols()).filter(|&col| mask.get(row, col)) {
            x += col as f64;
            y += row as f64;
        }
    }
    (x / mask.area() as f64, y / mask.area() as f64)
}

fn lungs(phantom: &Phantom) -> Mask {
    let mut both = phantom.mask(Structure::LeftLung).clone();
    both.merge(phantom.mask(Structure::RightLung));
    both
}

fn width(mask: &Mask) -> f64 {
    mask.bbox().expect("not empty").width as f64
}

#[test]
fn equal_parameters_give_equal_pictures_and_another_seed_another() {
    let params = PhantomParams::random(42, 160, 140);
    assert_eq!(params, PhantomParams::random(42, 160, 140));
    let (a, b) = (draw(&params), draw(&params));
    assert_eq!(a.frame, b.frame);
    assert_eq!(a.masks, b.masks);
    let other = draw(&PhantomParams { seed: 43, ..params });
    assert_ne!(a.frame, other.frame);
}

#[test]
fn a_seed_is_the_same_patient_at_every_size() {
    let (small, large) = (PhantomParams::random(5, 128, 128), PhantomParams::random(5, 512, 512));
    assert_eq!((&small.anatomy, &small.findings), (&large.anatomy, &large.findings));
    assert_eq!(small.acquisition, large.acquisition);
    let (small, large) = (draw(&small), draw(&large));
    for structure in [Structure::LeftLung, Structure::RightLung, Structure::Heart] {
        let iou = small.mask(structure).iou(&large.mask(structure).resize_nearest(128, 128));
        assert!(iou > 0.97, "{structure:?} agrees only to {iou}");
    }
}

#[test]
fn one_structure_more_leaves_the_others_as_they_were() {
    let bare = plain(200, 200);
    let mut wired = bare.clone();
    wired.findings.devices = ill().devices;
    wired.findings.nodules = ill().nodules;
    let (bare, wired) = (draw(&bare), draw(&wired));
    for structure in [Structure::LeftLung, Structure::RightLung, Structure::Heart] {
        assert_eq!(bare.mask(structure), wired.mask(structure));
    }
    let mut alone = plain(200, 200);
    alone.findings.devices.pacemaker = Some(Side::Left);
    let (alone, all) = (draw(&alone), wired.mask(Structure::SupportDevices).clone());
    let pacemaker = alone.mask(Structure::SupportDevices);
    assert_eq!(pacemaker.intersection(&all), pacemaker.area(), "the pacemaker moved");
}

#[test]
fn findings_have_masks_if_and_only_if_present() {
    let healthy = draw(&plain(256, 256));
    let mut params = plain(256, 256);
    params.findings = ill();
    let sick = draw(&params);
    for (structure, present) in healthy.labels() {
        let anatomy = matches!(structure, Structure::LeftLung | Structure::RightLung | Structure::Heart);
        assert_eq!(present, anatomy, "{structure:?} in a healthy chest");
    }
    assert_eq!(sick.labels().count(), Structure::ALL.len());
    for (structure, present) in sick.labels() {
        assert!(present, "{structure:?} is missing");
    }
}

#[test]
fn every_device_draws() {
    let one = |change: fn(&mut Devices)| {
        let mut params = plain(192, 192);
        change(&mut params.findings.devices);
        draw(&params).mask(Structure::SupportDevices).area()
    };
    assert!(one(|d| d.endotracheal_tube = true) > 0);
    assert!(one(|d| d.central_line = Some(Side::Left)) > 0);
    assert!(one(|d| d.nasogastric_tube = true) > 0);
    assert!(one(|d| d.pacemaker = Some(Side::Right)) > 0);
    assert!(one(|d| d.ecg_electrodes = 1) > 0);
}

#[test]
fn devices_drawn_alone_lie_where_the_phantom_has_them() {
    let mut params = plain(192, 160);
    params.findings = ill();
    let alone = draw_devices(&params).unwrap();
    assert_eq!(&alone.mask, draw(&params).mask(Structure::SupportDevices));
    assert_eq!(alone.thickness.len(), 192 * 160);
    let whole = draw(&PhantomParams { findings: Findings::default(), ..params.clone() });
    let mut lungs = whole.mask(Structure::LeftLung).clone();
    lungs.merge(whole.mask(Structure::RightLung));
    assert_eq!(alone.lungs, lungs);
    for (thickness, inside) in alone.thickness.iter().zip(alone.mask.data()) {
        assert_eq!(*thickness > 0.0, *inside != 0);
    }
    params.findings.devices = Devices::default();
    let none = draw_devices(&params).unwrap();
    assert!(none.mask.is_empty() && none.thickness.iter().all(|mm| *mm == 0.0));
    params.rows = 1;
    assert!(draw_devices(&params).is_err());
}

#[test]
fn findings_show_as_the_density_they_stand_for() {
    let healthy = draw(&plain(256, 256));
    let mut params = plain(256, 256);
    params.findings = ill();
    // The window follows the picture's percentiles: compare where it is the same for both.
    params.findings.devices = Devices::default();
    let sick = draw(&params);
    for (structure, brighter) in [
        (Structure::LungOpacity, true),
        (Structure::Consolidation, true),
        (Structure::PleuralEffusion, true),
        (Structure::LungNodule, true),
        (Structure::Pneumothorax, false),
    ] {
        let mask = sick.mask(structure);
        let (before, after) = (mean(&healthy, mask), mean(&sick, mask));
        assert_eq!(after > before, brighter, "{structure:?}: {before} before, {after} after");
    }
}

#[test]
fn effusion_leaves_the_lung_mask_and_opacity_stays_in_it() {
    let mut params = plain(256, 256);
    params.findings = ill();
    let sick = draw(&params);
    let lungs = lungs(&sick);
    assert_eq!(lungs.intersection(sick.mask(Structure::PleuralEffusion)), 0);
    let opacity = sick.mask(Structure::LungOpacity);
    assert_eq!(lungs.intersection(opacity), opacity.area());
    let dense = sick.mask(Structure::Consolidation);
    assert_eq!(dense.intersection(opacity), dense.area(), "consolidation is lung opacity");
    assert!(dense.area() < opacity.area());
}

#[test]
fn the_drawn_heart_has_the_ratio_asked_for() {
    for ratio in [0.38, 0.5, 0.66] {
        let mut params = plain(400, 400);
        params.anatomy.heart.cardiothoracic_ratio = ratio;
        let phantom = draw(&params);
        let drawn = width(phantom.mask(Structure::Heart)) / width(&lungs(&phantom));
        assert!((drawn - ratio).abs() < 0.04, "{drawn} instead of {ratio}");
    }
}

#[test]
fn rotation_turns_mask_and_pixels_together() {
    let contrast = |rotation: f64| {
        let mut params = plain(256, 256);
        params.acquisition.rotation = rotation;
        let phantom = draw(&params);
        let lungs = lungs(&phantom);
        let tilt = {
            let ((rx, ry), (lx, ly)) =
                (centre(phantom.mask(Structure::RightLung)), centre(phantom.mask(Structure::LeftLung)));
            (ly - ry).atan2(lx - rx).to_degrees()
        };
        let heart = mean(&phantom, phantom.mask(Structure::Heart));
        (tilt, (heart - mean(&phantom, &lungs)) / 65535.0)
    };
    let (level, upright) = contrast(0.0);
    let (tilted, turned) = contrast(15.0);
    assert!((tilted - level - 15.0).abs() < 1.5, "{level}° became {tilted}°");
    assert!((turned - upright).abs() < 0.04, "contrast {upright} became {turned}");
}

#[test]
fn mask_borders_lie_on_the_edges_of_the_picture() {
    // Dome of the right lung: brighter just below the mask than just inside it.
    let phantom = draw(&plain(512, 512));
    let lung = phantom.mask(Structure::RightLung);
    let (x, _) = centre(lung);
    let col = x.round() as usize;
    let bottom = (0..512).rfind(|&row| lung.get(row, col)).expect("lung in its middle column");
    let at = |row: usize| f64::from(phantom.frame.samples()[row * 512 + col]);
    let (inside, below) = (at(bottom - 4), at(bottom + 6));
    assert!(below > inside + 0.1 * 65535.0, "{inside} above the dome, {below} below it");
}

#[test]
fn the_whole_range_is_used() {
    let phantom = draw(&plain(256, 256));
    let (low, high) = phantom.frame.samples().iter().fold((u16::MAX, 0), |(l, h), &v| (l.min(v), h.max(v)));
    assert!(low < 2000 && high > 60_000, "{low}..{high}");
    let mut distinct = phantom.frame.samples().to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 4096, "only {} grey values", distinct.len());
}

#[test]
fn what_the_collimator_or_a_black_corner_hides_is_black_and_in_no_mask() {
    let mut params = plain(200, 240);
    params.acquisition.collimation = Some(Collimation { hidden: [0.2, 0.1, 0.0, 0.0], rotation: 0.0 });
    params.acquisition.redaction = [[0.0; 2], [0.3, 0.3]];
    let phantom = draw(&params);
    let black = phantom.frame.samples()[0];
    for (row, col) in [(5, 120), (100, 20), (30, 220)] {
        assert_eq!(phantom.frame.samples()[row * 240 + col], black);
    }
    let hidden = Mask::from_fn(200, 240, |row, col| row < 20 || col < 48 || (row < 60 && col >= 168));
    for (structure, mask) in &phantom.masks {
        assert_eq!(mask.intersection(&hidden), 0, "{structure:?} shows through");
    }
}

#[test]
fn markers_stand_on_their_side() {
    for (side, from) in [(Side::Right, 0), (Side::Left, 100)] {
        let mut params = plain(200, 200);
        let bare = draw(&params);
        params.acquisition.marker = Some(Marker { side, inset: 0.1, down: 0.05, height: 0.06, boxed: false });
        let marked = draw(&params);
        let changed = Mask::from_fn(200, 200, |r, c| {
            bare.frame.samples()[r * 200 + c] != marked.frame.samples()[r * 200 + c]
        });
        let bbox = changed.bbox().expect("a letter");
        assert!(bbox.x >= from && bbox.x + bbox.width <= from + 100 && bbox.height >= 10, "{bbox:?}");
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    let mut params = plain(256, 256);
    params.anatomy.heart.cardiothoracic_ratio = 1.2;
    let message = render(&params).expect_err("too large a heart").to_string();
    assert!(message.contains("anatomy.heart.cardiothoracic_ratio") && message.contains("0.85"), "{message}");

    let mut params = plain(256, 256);
    params.acquisition.photons = f64::NAN;
    assert!(
        matches!(render(&params), Err(PhantomError::OutOfRange { name, .. }) if name == "acquisition.photons")
    );

    let mut params = plain(256, 256);
    params.acquisition.tone.levels = [0.8, 0.2];
    assert_eq!(params.validate(), Err(PhantomError::Levels { black: 0.8, white: 0.2 }));

    let mut params = plain(256, 256);
    params.findings = ill();
    params.findings.nodules[0].radius = 40.0;
    assert!(
        matches!(params.validate(), Err(PhantomError::OutOfRange { name, .. }) if name.contains("nodules[0]"))
    );

    assert!(render(&plain(0, 256)).is_err());
    assert!(render(&plain(256, 100_000)).is_err());
}

#[test]
fn parameters_survive_toml_and_unknown_keys_do_not() {
    let params = PhantomParams::random(9, 256, 320);
    let text = toml::to_string(&params).expect("plain data");
    assert_eq!(toml::from_str::<PhantomParams>(&text).expect("its own TOML"), params);
    let typo = text.replacen("seed", "sead", 1);
    assert!(toml::from_str::<PhantomParams>(&typo).is_err());
}

/// Some ranges are left by products of draws only, as by the lungs of one patient in 16 000: hence so many.
#[test]
fn every_random_patient_is_in_range() {
    for seed in 0..50_000 {
        let params = PhantomParams::random(seed, 512, 448);
        assert_eq!(params.validate(), Ok(()), "seed {seed}");
    }
}

#[test]
fn random_findings_have_hospital_frequencies() {
    let all: Vec<Findings> = (0..400).map(|seed| PhantomParams::random(seed, 256, 256).findings).collect();
    let share = |f: fn(&Findings) -> bool| all.iter().filter(|x| f(x)).count() as f64 / all.len() as f64;
    let healthy = share(|f| *f == Findings::default());
    assert!((0.25..0.7).contains(&healthy), "{healthy} healthy");
    for (name, present) in [
        ("ground glass", share(|f| !f.ground_glass.is_empty())),
        ("consolidation", share(|f| !f.consolidations.is_empty())),
        ("effusion", share(|f| !f.effusions.is_empty())),
        ("pneumothorax", share(|f| !f.pneumothoraces.is_empty())),
        ("nodules", share(|f| !f.nodules.is_empty())),
        ("devices", share(|f| !f.devices.is_empty())),
    ] {
        assert!((0.005..0.4).contains(&present), "{name} in {present} of all");
    }
    let large = (0..400)
        .filter(|&seed| PhantomParams::random(seed, 256, 256).anatomy.heart.cardiothoracic_ratio > 0.5);
    assert!((80..240).contains(&large.count()), "share of enlarged hearts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any random patient at any size has both lungs and a heart, apart, dark against bright, on their sides.
    #[test]
    fn random_patients_are_plausible(seed in any::<u64>(), rows in 96usize..320, cols in 96usize..320) {
        prop_assume!(rows.max(cols) < 2 * rows.min(cols));
        let phantom = draw(&PhantomParams::random(seed, rows, cols));
        prop_assert_eq!((phantom.frame.rows(), phantom.frame.cols()), (rows, cols));
        for mask in phantom.masks.values() {
            prop_assert_eq!((mask.rows(), mask.cols()), (rows, cols));
        }
        let [left, right, heart] =
            [Structure::LeftLung, Structure::RightLung, Structure::Heart].map(|s| phantom.mask(s));
        for mask in [left, right, heart] {
            prop_assert!(mask.area() * 200 > rows * cols, "{} of {} pixels", mask.area(), rows * cols);
        }
        prop_assert_eq!(left.intersection(right), 0);
        prop_assert_eq!(left.intersection(heart) + right.intersection(heart), 0);
        prop_assert!(centre(right).0 < centre(left).0, "right lung at the image's left");
        // Diseased lungs may be white.
        if phantom.params.findings == Findings::default() {
            prop_assert!(mean(&phantom, &lungs(&phantom)) < mean(&phantom, heart));
        }
    }
}
