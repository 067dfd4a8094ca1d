//! Results as they come, for people and scripts: no patient data, no UIDs of images.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish};
use serde::Serialize;
use shared::message::{Message, ResultEnvelope};
use shared::topic::{Channel, DeviceId};
use tokio::sync::mpsc;
use tokio::time::sleep;
use uuid::Uuid;

use super::config::CentralConfig;
use super::subscriber;
use crate::publisher::PublishError;
use crate::publisher::mqtt::connect_options;

/// Results that may wait for a slow terminal.
const WAITING: usize = 1000;
/// Pause before another attempt to connect.
const PAUSE: Duration = Duration::from_secs(2);

/// A result as one line tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    /// The device's site.
    pub(super) site: String,
    /// The device.
    pub(super) device: String,
    /// The result.
    pub(super) result_id: Uuid,
    /// When the network ran.
    pub(super) inferred_at: String,
    /// The model.
    pub(super) model: String,
    /// What was found.
    pub(super) findings: Vec<SeenFinding>,
    /// Heart by thorax, if it was measured.
    pub(super) cardiothoracic_ratio: Option<f64>,
    /// Codes of the remarks on the acquisition.
    pub(super) quality: Vec<String>,
    /// Whether it was sent before.
    pub(super) replayed: bool,
    /// From file to masks.
    pub(super) latency_ms: f64,
}

/// A finding as one line tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SeenFinding {
    /// Class.
    pub(super) label: String,
    /// Greatest probability.
    pub(super) score: f32,
    /// Share of the image, 0..=1.
    pub(super) area_fraction: f64,
}

impl Seen {
    pub(super) fn new(device: &DeviceId, envelope: &ResultEnvelope) -> Self {
        let found = envelope.findings.iter().filter(|f| f.area_px > 0);
        Self {
            site: device.site.to_string(),
            device: device.device.to_string(),
            result_id: envelope.result_id,
            inferred_at: envelope.inferred_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            model: format!("{} {}", envelope.model.name, envelope.model.version),
            findings: found
                .map(|f| SeenFinding {
                    label: f.label.clone(),
                    score: f.score,
                    area_fraction: f.area_fraction,
                })
                .collect(),
            cardiothoracic_ratio: envelope.measurements.cardiothoracic_ratio.as_ref().map(|r| r.ratio),
            quality: envelope.quality.iter().map(|note| note.code.clone()).collect(),
            replayed: envelope.replayed,
            latency_ms: envelope.latency_ms.total(),
        }
    }

    /// As one line for people. Labels come over the wire: what would move the cursor is left out.
    pub(super) fn line(&self) -> String {
        let findings: Vec<String> = self
            .findings
            .iter()
            .map(|f| format!("{} {:.2} ({:.1} %)", f.label, f.score, f.area_fraction * 100.0))
            .collect();
        let findings = if findings.is_empty() { "nothing".into() } else { findings.join(", ") };
        let mut line =
            format!("{} {}/{} {} {findings}", self.inferred_at, self.site, self.device, self.result_id);
        if let Some(ratio) = self.cardiothoracic_ratio {
            line += &format!("; CTR {ratio:.2}");
        }
        for code in &self.quality {
            line += &format!("; {code}");
        }
        if self.replayed {
            line += "; replayed";
        }
        line.replace(char::is_control, "?")
    }
}

/// Gives results as they come to `show`, which ends it by false. A broker that goes away is waited for, one that was
/// never there is an error.
pub(super) async fn watch(
    config: &CentralConfig,
    mut show: impl FnMut(&Seen) -> bool,
) -> Result<(), PublishError> {
    let mut before = false;
    loop {
        let error = match listen(config, &mut show, &mut before).await {
            Ok(()) => return Ok(()),
            Err(error) if !before => return Err(error),
            Err(error) => error,
        };
        tracing::warn!(%error, "results are missed until the broker is back");
        sleep(PAUSE).await;
    }
}

async fn listen(
    config: &CentralConfig,
    show: &mut impl FnMut(&Seen) -> bool,
    connected: &mut bool,
) -> Result<(), PublishError> {
    let id = format!("{}-watch-{}", config.client_id(), Uuid::new_v4().simple());
    let (client, mut events, silence) =
        subscriber::connect(connect_options(&config.mqtt, &id)?, &config.mqtt).await?;
    let filter = Filter::new(Channel::Result.everywhere(), QoS::AtMostOnce);
    client.subscribe_many([filter]).await.map_err(|_| PublishError::Lost("it closed".into()))?;
    *connected = true;
    let (sender, mut messages) = mpsc::channel(WAITING);
    let polling = subscriber::poll(&mut events, &sender, silence);
    tokio::pin!(polling);
    loop {
        tokio::select! {
            error = &mut polling => return Err(error),
            Some(message) = messages.recv() => {
                if seen(&message).is_some_and(|seen| !show(&seen)) {
                    return Ok(());
                }
            }
        }
    }
}

/// What cannot be read is told by `set-aside`.
fn seen(message: &Publish) -> Option<Seen> {
    let topic = std::str::from_utf8(&message.topic).ok()?;
    let (device, _) = DeviceId::parse_topic(topic).ok()?;
    let envelope = ResultEnvelope::parse(&message.payload).ok()?;
    Some(Seen::new(&device, &envelope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::tests::envelope;

    #[test]
    fn a_line_names_device_and_findings_and_no_image() {
        let device = DeviceId { site: "north".parse().unwrap(), device: "cart-3".parse().unwrap() };
        let mut envelope = envelope(1);
        envelope.findings[0].label = "lung\u{1b}[2J".into();
        let seen = Seen::new(&device, &envelope);
        let (line, json) = (seen.line(), serde_json::to_string(&seen).unwrap());
        assert!(line.contains("north/cart-3") && line.contains("lung?[2J 0.90"), "{line}");
        for text in [line, json] {
            assert!(!text.contains(envelope.image.sop_instance_uid.as_str()), "{text}");
        }
    }
}
