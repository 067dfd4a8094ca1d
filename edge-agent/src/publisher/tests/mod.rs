//! The courier against a scripted link, and the whole publisher against a real broker behind a proxy that
//! can be cut.

mod broker;
mod proxy;
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use shared::PIPELINE_VERSION;
use shared::bundle::Signature;
use shared::manifest::{Code, Quantization};
use shared::mask::{Mask, Rle};
use shared::measure::Measurements;
use shared::message::{
    Finding, LatencyMs, Message, ModelRef, ResultEnvelope, SCHEMA, SourceImage, result_id,
};
use shared::pixel::{Photometric, VoiApplied};
use shared::preprocess::Letterbox;
use shared::topic::DeviceId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Outbound;
use super::courier::Courier;
use super::presence::Presence;
use crate::health::Vitals;
use crate::store::{Next, Store};

/// A guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn model() -> ModelRef {
    ModelRef {
        name: "m".into(),
        version: "1".into(),
        sha256: "a".repeat(64),
        quantization: Quantization::QdqInt8,
    }
}

/// A valid result with a ragged mask; another `n` is another image.
pub(crate) fn envelope(n: u64) -> ResultEnvelope {
    let (rows, cols) = (512, 400);
    let sop_instance_uid = format!("1.2.{n}").parse().unwrap();
    let model = model();
    let mask = Mask::from_fn(rows, cols, |r, c| {
        let edge = 120.0 + 40.0 * (r as f64 / 3.0).sin();
        (c as f64 - 200.0).abs() < edge && (60..450).contains(&r)
    });
    let bbox = mask.bbox().unwrap();
    ResultEnvelope {
        schema: SCHEMA,
        result_id: result_id(&sop_instance_uid, &model.sha256, PIPELINE_VERSION),
        boot_id: Uuid::from_u128(7),
        seq: n,
        acquired_at: None,
        inferred_at: "2026-11-23T12:00:00Z".parse().unwrap(),
        clock_synced: false,
        image: SourceImage {
            study_instance_uid: None,
            series_instance_uid: None,
            sop_instance_uid,
            sop_class_uid: None,
            rows,
            cols,
            photometric: Photometric::Monochrome2,
            voi_applied: VoiApplied::None,
            revision: None,
        },
        transform: Letterbox::new(rows, cols, 320),
        model,
        pipeline_version: PIPELINE_VERSION,
        findings: vec![Finding {
            code: Code { scheme: "SCT".into(), value: "39607008".into(), meaning: "Lung structure".into() },
            label: "lung".into(),
            score: 0.9,
            threshold: 0.5,
            area_px: mask.area() as u64,
            area_fraction: mask.area() as f64 / (rows * cols) as f64,
            bbox: Some([bbox.x as f64, bbox.y as f64, bbox.width as f64, bbox.height as f64]),
            mask: Rle::encode(&mask),
        }],
        measurements: Measurements::default(),
        quality: vec![],
        replayed: false,
        latency_ms: LatencyMs::default(),
    }
}

pub(super) fn enqueue(store: &Store, n: u64) -> Uuid {
    let image =
        store.stage(&n.to_le_bytes()[..], 10).unwrap().commit(crate::store::Origin::Unknown).unwrap().id();
    let envelope = envelope(n);
    store.enqueue(image, envelope.result_id, &[0; 32], &envelope.to_json()).unwrap();
    envelope.result_id
}

pub(crate) fn device() -> DeviceId {
    DeviceId { site: "north".parse().unwrap(), device: "cart-3".parse().unwrap() }
}

pub(super) fn courier(store: &Store, require_ack: bool) -> Courier {
    let presence = Presence::new(model(), Some(Signature::Unsigned), vec![], None);
    Courier {
        store: store.clone(),
        vitals: Arc::new(Vitals::new(presence.boot_id())),
        presence,
        wake: Arc::new(Notify::new()),
        require_ack,
        max_backoff: Duration::from_millis(300),
        stop: CancellationToken::new(),
    }
}

/// No responses.
pub(super) fn silence() -> mpsc::Receiver<Outbound> {
    mpsc::channel(1).1
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

pub(super) async fn until_empty(store: &Store) {
    within(async {
        while store.run(Store::next_due).await.unwrap() != Next::Empty {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
