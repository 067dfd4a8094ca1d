use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::DateTime;
use super::{Message, MessageError};
use crate::manifest::{Code, Quantization, is_sha256};
use crate::mask::Rle;
use crate::measure::Measurements;
use crate::pixel::{Photometric, VoiApplied};
use crate::preprocess::Letterbox;
use crate::schema::SchemaVersion;
use crate::uid::Uid;

/// Name space of result ids: UUIDv5 of the URL `https://chexseg.example/result` in the URL name space.
const RESULT_NAMESPACE: Uuid = Uuid::from_u128(0x820ab7e9_0198_5111_bb5e_bb983d666d37);

/// The identity of a result: UUIDv5 over SOP Instance UID, model digest and pipeline version. The same image
/// and model give the same id for ever, so duplicates and replays are harmless.
pub fn result_id(sop_instance_uid: &Uid, model_sha256: &str, pipeline_version: u32) -> Uuid {
    let name = format!("{sop_instance_uid}|{model_sha256}|{pipeline_version}");
    Uuid::new_v5(&RESULT_NAMESPACE, name.as_bytes())
}

impl SourceImage {
    /// The identity of this image's result: [`result_id`], and of a revision another one, that of
    /// `SOP Instance UID|model|pipeline version|revision`.
    pub fn result_id(&self, model_sha256: &str, pipeline_version: u32) -> Uuid {
        let uid = &self.sop_instance_uid;
        match &self.revision {
            None => result_id(uid, model_sha256, pipeline_version),
            Some(revision) => {
                let name = format!("{uid}|{model_sha256}|{pipeline_version}|{revision}");
                Uuid::new_v5(&RESULT_NAMESPACE, name.as_bytes())
            }
        }
    }
}

impl QualityNote {
    /// Two images claim one SOP Instance UID, which PS3.5 section 9 forbids: whoever joins results to images must look.
    pub fn reused_sop_instance_uid() -> Self {
        Self {
            code: "sop_instance_uid_reused".into(),
            message: "another image came under this SOP Instance UID before; ask the maker of the X-ray unit"
                .into(),
        }
    }
}

/// One segmented radiograph. Holds no patient data beyond the UIDs that let central join it to the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultEnvelope {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// See [`result_id`].
    pub result_id: Uuid,
    /// One start of the agent.
    pub boot_id: Uuid,
    /// Counts results of this boot, from 1; replays keep theirs.
    pub seq: u64,
    /// When the unit made the image, if it says so.
    #[schemars(with = "Option<DateTime>")]
    pub acquired_at: Option<Timestamp>,
    /// When the network ran.
    #[schemars(with = "DateTime")]
    pub inferred_at: Timestamp,
    /// Whether the device's clock was synchronised then.
    pub clock_synced: bool,
    /// The image.
    pub image: SourceImage,
    /// Between source pixels and the network's grid.
    pub transform: Letterbox,
    /// The model.
    pub model: ModelRef,
    /// [`crate::PIPELINE_VERSION`] of the agent.
    pub pipeline_version: u32,
    /// One for each class, in the manifest's order.
    pub findings: Vec<Finding>,
    /// What was measured on the structures; absent before schema 1.1 and where nothing was.
    #[serde(default, skip_serializing_if = "Measurements::is_empty")]
    pub measurements: Measurements,
    /// What a technician should know about the acquisition.
    pub quality: Vec<QualityNote>,
    /// Whether this is not the first time that it is sent.
    pub replayed: bool,
    /// Where the time went.
    pub latency_ms: LatencyMs,
}

/// The image that a result belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceImage {
    /// Study Instance UID, if the object has one.
    pub study_instance_uid: Option<Uid>,
    /// Series Instance UID, if the object has one.
    pub series_instance_uid: Option<Uid>,
    /// SOP Instance UID; made from the content for pictures without one.
    pub sop_instance_uid: Uid,
    /// SOP Class UID, if the object has one: what refers to the image needs it. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sop_class_uid: Option<Uid>,
    /// Rows of the source.
    pub rows: usize,
    /// Columns of the source.
    pub cols: usize,
    /// Photometric Interpretation before rendering.
    pub photometric: Photometric,
    /// How the values of interest were chosen.
    pub voi_applied: VoiApplied,
    /// SHA-256 of the rendered pixels ([`PixelFrame::sha256`](crate::pixel::PixelFrame::sha256)), all that could be decoded, if
    /// other pixels came under the same SOP Instance UID before. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The model that made a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// Name in the manifest.
    pub name: String,
    /// Version in the manifest.
    pub version: String,
    /// SHA-256 of the ONNX file.
    pub sha256: String,
    /// Arithmetic of the graph.
    pub quantization: Quantization,
}

/// One class of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Coded concept.
    pub code: Code,
    /// Class label of the manifest.
    pub label: String,
    /// Greatest calibrated probability in the image, 0..=1.
    pub score: f32,
    /// Calibrated probability from which a pixel is foreground.
    pub threshold: f32,
    /// Foreground in source pixels (scaled from the mask's grid).
    pub area_px: u64,
    /// Foreground as a share of the image, 0..=1.
    pub area_fraction: f64,
    /// `[x, y, width, height]` in source pixels; none if the mask is empty.
    pub bbox: Option<[f64; 4]>,
    /// The mask over the source image, on its own or a coarser grid.
    pub mask: Rle,
}

/// A remark on the acquisition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QualityNote {
    /// Machine-readable reason.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Milliseconds of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyMs {
    /// File to pixels.
    pub decode: f64,
    /// Pixels to tensor.
    pub preprocess: f64,
    /// The network.
    pub infer: f64,
    /// Logits to masks.
    pub postprocess: f64,
}

impl LatencyMs {
    /// All stages.
    pub fn total(&self) -> f64 {
        self.decode + self.preprocess + self.infer + self.postprocess
    }
}

impl Message for ResultEnvelope {
    const WHAT: &'static str = "result";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.result+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        let check = |ok: bool, field: String, problem: &str| {
            if ok {
                Ok(())
            } else {
                Err(MessageError::Field { what: Self::WHAT, field, problem: problem.into() })
            }
        };
        check(is_sha256(&self.model.sha256), "model.sha256".into(), "is not 64 lower-case hex digits")?;
        let revision = self.image.revision.as_deref();
        check(revision.is_none_or(is_sha256), "image.revision".into(), "is not 64 lower-case hex digits")?;
        check(
            self.result_id == self.image.result_id(&self.model.sha256, self.pipeline_version),
            "result_id".into(),
            "does not follow from image, model and pipeline",
        )?;
        let transform = &self.transform;
        let same = (transform.source_rows, transform.source_cols) == (self.image.rows, self.image.cols);
        check(same && transform.is_consistent(), "transform".into(), "does not fit the image")?;
        for (i, finding) in self.findings.iter().enumerate() {
            let field = |name: &str| format!("findings[{i}].{name}");
            check((0.0..=1.0).contains(&finding.score), field("score"), "is outside 0..=1")?;
            check(finding.threshold > 0.0 && finding.threshold < 1.0, field("threshold"), "is outside 0..1")?;
            check((0.0..=1.0).contains(&finding.area_fraction), field("area_fraction"), "is outside 0..=1")?;
            let [rows, cols] = finding.mask.size;
            let fits = (1..=self.image.rows).contains(&rows) && (1..=self.image.cols).contains(&cols);
            check(fits, field("mask.size"), "is empty or exceeds the image")?;
            let area = finding.mask.area().map_err(|e| MessageError::Field {
                what: Self::WHAT,
                field: field("mask"),
                problem: format!("is no mask: {e}"),
            })?;
            let fraction = area as f64 / (rows * cols) as f64;
            check(
                (fraction - finding.area_fraction).abs() < 1e-6,
                field("area_fraction"),
                "is not the mask's",
            )?;
            check(finding.bbox.is_some() == (area > 0), field("bbox"), "does not fit the mask")?;
        }
        if let Some(ratio) = &self.measurements.cardiothoracic_ratio {
            let wrong = ratio.contradiction((self.image.rows, self.image.cols));
            let (field, problem) = wrong.unwrap_or_default();
            check(wrong.is_none(), format!("measurements.cardiothoracic_ratio.{field}"), problem)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;
    use crate::measure::{CardiothoracicRatio, CardiothoracicSpec, Extent};
    use crate::message::SCHEMA;

    fn envelope() -> ResultEnvelope {
        let sop_instance_uid: Uid = "1.2.840.1".parse().unwrap();
        let sha256 = "a".repeat(64);
        let mask = Mask::from_fn(20, 10, |r, c| r < 10 && c < 5);
        ResultEnvelope {
            schema: SCHEMA,
            result_id: result_id(&sop_instance_uid, &sha256, 1),
            boot_id: Uuid::from_u128(7),
            seq: 1,
            acquired_at: None,
            inferred_at: "2026-11-23T12:00:00Z".parse().unwrap(),
            clock_synced: true,
            image: SourceImage {
                study_instance_uid: None,
                series_instance_uid: None,
                sop_instance_uid,
                sop_class_uid: None,
                rows: 20,
                cols: 10,
                photometric: Photometric::Monochrome2,
                voi_applied: VoiApplied::None,
                revision: None,
            },
            transform: Letterbox::new(20, 10, 320),
            model: ModelRef {
                name: "m".into(),
                version: "1".into(),
                sha256,
                quantization: Quantization::QdqInt8,
            },
            pipeline_version: 1,
            findings: vec![Finding {
                code: Code {
                    scheme: "SCT".into(),
                    value: "80891009".into(),
                    meaning: "Heart structure".into(),
                },
                label: "heart".into(),
                score: 0.9,
                threshold: 0.5,
                area_px: 50,
                area_fraction: 0.25,
                bbox: Some([0.0, 0.0, 5.0, 10.0]),
                mask: Rle::encode(&mask),
            }],
            measurements: Measurements {
                cardiothoracic_ratio: Some(CardiothoracicRatio {
                    code: CardiothoracicSpec::default().code,
                    ratio: 0.5,
                    enlarged_from: 0.5,
                    enlarged: true,
                    heart: Extent { width_px: 4.0, line: [3.0, 12.0, 7.0, 12.0] },
                    thorax: Extent { width_px: 8.0, line: [1.0, 9.0, 9.0, 9.0] },
                }),
            },
            quality: vec![],
            replayed: false,
            latency_ms: LatencyMs::default(),
        }
    }

    #[test]
    fn json_round_trip() {
        let envelope = envelope();
        assert_eq!(ResultEnvelope::parse(&envelope.to_json()).unwrap(), envelope);
    }

    #[test]
    fn messages_of_schema_1_0_still_parse() {
        let mut value = serde_json::to_value(envelope()).unwrap();
        value["schema"] = "1.0".into();
        value.as_object_mut().unwrap().remove("measurements");
        let parsed = ResultEnvelope::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert!(parsed.measurements.is_empty());
    }

    #[test]
    fn same_image_and_model_have_the_same_id_for_ever() {
        let uid: Uid = "1.2.3".parse().unwrap();
        let id = result_id(&uid, &"0".repeat(64), 1);
        // Python: uuid5(uuid5(NAMESPACE_URL, 'https://chexseg.example/result'), '1.2.3|' + '0' * 64 + '|1')
        assert_eq!(id.to_string(), "d8c9cadf-f8bf-5662-8c15-79a58a9121b2");
        assert_ne!(id, result_id(&uid, &"0".repeat(64), 2));
        assert_ne!(id, result_id(&uid, &"1".repeat(64), 1));
    }

    fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(envelope()).unwrap();
        change(&mut value);
        ResultEnvelope::parse(&serde_json::to_vec(&value).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn unknown_major_and_missing_version_are_clear() {
        assert!(refusal(|v| v["schema"] = "2.0".into()).contains("schema 2.0"));
        assert!(refusal(|v| drop(v.as_object_mut().unwrap().remove("schema"))).contains("no `schema`"));
        assert!(ResultEnvelope::parse(b"{").unwrap_err().to_string().contains("result is not valid"));
    }

    #[test]
    fn unknown_fields_are_errors_unless_a_newer_minor_adds_them() {
        assert!(refusal(|v| v["findings"][0]["colour"] = "red".into()).contains("findings.0.colour"));
        let mut value = serde_json::to_value(envelope()).unwrap();
        value["schema"] = "1.9".into();
        value["added_later"] = 1.into();
        assert!(ResultEnvelope::parse(&serde_json::to_vec(&value).unwrap()).is_ok());
    }

    #[test]
    fn absurd_sizes_are_refused_without_overflow() {
        let most = u64::MAX;
        let text = refusal(|v| {
            (v["image"]["rows"], v["image"]["cols"]) = (most.into(), most.into());
            (v["transform"]["source_rows"], v["transform"]["source_cols"]) = (most.into(), most.into());
            v["transform"]["input_size"] = most.into();
        });
        assert!(text.contains("transform"), "{text}");
    }

    #[test]
    fn contradictions_are_named() {
        assert!(refusal(|v| v["findings"][0]["score"] = 1.5.into()).contains("findings[0].score"));
        assert!(refusal(|v| v["findings"][0]["mask"]["counts"] = "4".into()).contains("findings[0].mask"));
        assert!(refusal(|v| v["findings"][0]["area_fraction"] = 0.5.into()).contains("area_fraction"));
        assert!(refusal(|v| v["findings"][0]["bbox"] = serde_json::Value::Null).contains("bbox"));
        assert!(refusal(|v| v["findings"][0]["mask"]["size"] = [0, 0].into()).contains("mask.size"));
        let text = refusal(|v| v["measurements"]["cardiothoracic_ratio"]["enlarged"] = false.into());
        assert!(text.contains("measurements.cardiothoracic_ratio.enlarged"), "{text}");
        assert!(refusal(|v| v["transform"]["pad_left"] = 3.into()).contains("transform"));
        assert!(refusal(|v| v["image"]["sop_instance_uid"] = "1.2.3".into()).contains("result_id"));
        assert!(refusal(|v| v["image"]["sop_instance_uid"] = "../x".into()).contains("UID"));
        assert!(refusal(|v| v["image"]["revision"] = "b".repeat(64).into()).contains("result_id"));
        assert!(refusal(|v| v["image"]["revision"] = "B".into()).contains("image.revision"));
    }

    #[test]
    fn a_revision_is_another_result_of_the_same_instance() {
        let mut revised = envelope();
        revised.image.revision = Some("b".repeat(64));
        revised.result_id = revised.image.result_id(&revised.model.sha256, 1);
        assert_ne!(revised.result_id, envelope().result_id);
        assert_eq!(ResultEnvelope::parse(&revised.to_json()).unwrap(), revised);
    }
}
