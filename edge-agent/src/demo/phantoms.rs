//! The patients of the phantom X-ray unit.

use std::collections::BTreeMap;
use std::io::Cursor;

use image::ImageFormat;
use shared::mask::Mask;
use shared::phantom::{
    Devices, Effusion, Findings, Opacity, Phantom, PhantomError, PhantomParams, PleuralAir, Side, render,
};
use shared::uid::Uid;
use uuid::Uuid;

use crate::specimen;

/// A patient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) title: &'static str,
    seed: u64,
    rows: usize,
    cols: usize,
    /// Ratio of heart to thorax; none leaves it to chance.
    cardiothoracic_ratio: Option<f64>,
    findings: fn() -> Findings,
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Dicom,
    Png,
}

/// A patient's radiograph and what is known of it.
pub(super) struct Taken {
    pub(super) extension: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Exact masks by class label.
    pub(super) truth: BTreeMap<&'static str, Mask>,
}

/// Sizes and findings of a small department's morning.
pub(super) const CASES: [Case; 5] = [
    Case {
        title: "Healthy chest",
        seed: 101,
        rows: 1280,
        cols: 1024,
        cardiothoracic_ratio: Some(0.44),
        findings: Findings::default,
        format: Format::Png,
    },
    Case {
        title: "Enlarged heart",
        seed: 106,
        rows: 2048,
        cols: 1800,
        cardiothoracic_ratio: Some(0.62),
        findings: Findings::default,
        format: Format::Dicom,
    },
    Case {
        title: "Consolidation, right lung",
        seed: 104,
        rows: 1024,
        cols: 1024,
        cardiothoracic_ratio: None,
        findings: || Findings {
            consolidations: vec![Opacity {
                side: Side::Right,
                across: 0.5,
                down: 0.65,
                radius: 38.0,
                density: 0.6,
            }],
            ..Findings::default()
        },
        format: Format::Png,
    },
    Case {
        title: "Pleural effusion, left",
        seed: 103,
        rows: 1400,
        cols: 1700,
        cardiothoracic_ratio: None,
        findings: || Findings {
            effusions: vec![Effusion { side: Side::Left, height: 0.3, meniscus: 30.0 }],
            ..Findings::default()
        },
        format: Format::Png,
    },
    Case {
        title: "Pneumothorax and tubes",
        seed: 102,
        rows: 1152,
        cols: 960,
        cardiothoracic_ratio: None,
        findings: || Findings {
            pneumothoraces: vec![PleuralAir { side: Side::Left, apical_gap: 40.0, lateral_gap: 15.0 }],
            devices: Devices {
                endotracheal_tube: true,
                central_line: Some(Side::Right),
                ecg_electrodes: 3,
                ..Devices::default()
            },
            ..Findings::default()
        },
        format: Format::Png,
    },
];

impl Case {
    /// Takes the radiograph.
    pub(super) fn expose(&self) -> Result<Taken, PhantomError> {
        let phantom = render(&self.params())?;
        let (extension, bytes) = match self.format {
            Format::Dicom => ("dcm", specimen::dicom_file(&phantom.frame, &self.uid())),
            Format::Png => ("png", png(&phantom)),
        };
        let truth = phantom.masks.into_iter().map(|(structure, mask)| (structure.label(), mask)).collect();
        Ok(Taken { extension, bytes, truth })
    }

    fn params(&self) -> PhantomParams {
        let mut params = PhantomParams::random(self.seed, self.rows, self.cols);
        params.findings = (self.findings)();
        if let Some(ratio) = self.cardiothoracic_ratio {
            params.anatomy.heart.cardiothoracic_ratio = ratio;
        }
        params
    }

    /// The same for the same patient at every demo.
    fn uid(&self) -> Uid {
        let name = format!("chexseg demo {}", self.seed);
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_bytes());
        Uid::from_content(&digest)
    }
}

fn png(phantom: &Phantom) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    phantom
        .frame
        .to_image16()
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("writing a 16-bit PNG to memory");
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patient_can_be_exposed() {
        for case in CASES {
            let small = Case { rows: case.rows / 8, cols: case.cols / 8, ..case };
            let taken = small.expose().unwrap();
            assert!(!taken.truth["heart"].is_empty(), "{}", case.title);
            let decoded = crate::decode::decode_bytes(&taken.bytes, &Default::default()).unwrap();
            assert_eq!((decoded.frame.rows(), decoded.frame.cols()), (small.rows, small.cols));
        }
    }
}
