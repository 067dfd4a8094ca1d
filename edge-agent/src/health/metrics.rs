//! What is counted, for Prometheus. Every name begins with `cxr_`; labels have few, fixed values, and none is of an
//! image.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use shared::message::{LatencyMs, ModelRef};

use super::system::Disk;
use crate::bench::Memory;
use crate::store::Census;

/// Seconds of a step of the analysis.
const STAGE_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Seconds from arrival to delivery: tenths when all is well, days when the network was away.
const DELIVERY_BUCKETS: [f64; 12] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0, 86_400.0, 604_800.0];

/// One label of fixed values.
type Label = [(&'static str, &'static str); 1];
type Number = Gauge<f64, AtomicU64>;
type Seconds = Family<Label, Histogram, fn() -> Histogram>;

/// Every metric of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    gates: Mutex<Vec<Arc<Gate>>>,
    accepted: Family<Label, Counter>,
    refused: Family<Label, Counter>,
    analysed: Counter,
    set_aside: Counter,
    stages: Seconds,
    delivered: Counter,
    acknowledged: Counter,
    received_to_published: Histogram,
    connected: Gauge,
    connections: Counter,
    commands: Family<Label, Counter>,
    waiting: Waiting,
    disk_free: Number,
    disk: Number,
    temperature: Number,
    resident: Number,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    images: Number,
    results: Number,
    unacknowledged: Number,
    set_aside: Number,
    oldest_unsent: Number,
}

/// A way by which images come in: whether it is open, and what came through.
#[derive(Debug, Default)]
pub struct Gate {
    name: &'static str,
    open: AtomicBool,
    accepted: Counter,
    refused: Counter,
}

impl Gate {
    /// An image was taken in.
    pub fn count_accepted(&self) {
        self.accepted.inc();
    }

    /// Something was not taken in.
    pub fn count_refused(&self) {
        self.refused.inc();
    }

    /// Whether images can come in.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cxr");
        let stage: fn() -> Histogram = || Histogram::new(STAGE_BUCKETS);
        let metrics = Self {
            gates: Mutex::default(),
            accepted: Family::default(),
            refused: Family::default(),
            analysed: Counter::default(),
            set_aside: Counter::default(),
            stages: Family::new_with_constructor(stage),
            delivered: Counter::default(),
            acknowledged: Counter::default(),
            received_to_published: Histogram::new(DELIVERY_BUCKETS),
            connected: Gauge::default(),
            connections: Counter::default(),
            commands: Family::default(),
            waiting: Waiting::default(),
            disk_free: Number::default(),
            disk: Number::default(),
            temperature: Number::default(),
            resident: Number::default(),
            registry: Mutex::default(),
        };
        let r = &mut registry;
        r.register("images_accepted", "Images taken in", metrics.accepted.clone());
        r.register("images_refused", "Files and objects not taken in", metrics.refused.clone());
        r.register("images_analysed", "Images that have a result", metrics.analysed.clone());
        r.register("images_set_aside", "Images set aside since the start", metrics.set_aside.clone());
        let help = "Time of a step of the analysis";
        r.register_with_unit("stage", help, Unit::Seconds, metrics.stages.clone());
        r.register("results_delivered", "Results that a broker took over", metrics.delivered.clone());
        r.register("results_acknowledged", "Results that central committed", metrics.acknowledged.clone());
        let help = "Time from the arrival of an image to the delivery of its result";
        let histogram = metrics.received_to_published.clone();
        r.register_with_unit("received_to_published", help, Unit::Seconds, histogram);
        r.register("broker_connected", "1 while a broker is connected", metrics.connected.clone());
        r.register("broker_connections", "Connections that stood", metrics.connections.clone());
        r.register("commands", "Commands answered", metrics.commands.clone());
        let waiting = &metrics.waiting;
        r.register("images_waiting", "Images that wait for analysis", waiting.images.clone());
        r.register("results_waiting", "Results that no broker has", waiting.results.clone());
        let help = "Results that the broker has and central has not acknowledged";
        r.register("results_unacknowledged", help, waiting.unacknowledged.clone());
        r.register("waiting_for_person", "Images set aside and files refused", waiting.set_aside.clone());
        let help = "Age of the oldest result that no broker has; 0 if there is none";
        r.register_with_unit("oldest_unsent", help, Unit::Seconds, waiting.oldest_unsent.clone());
        let help = "What may still be written on the disk of the state folder";
        r.register_with_unit("state_disk_free", help, Unit::Bytes, metrics.disk_free.clone());
        let help = "Size of the disk of the state folder";
        r.register_with_unit("state_disk", help, Unit::Bytes, metrics.disk.clone());
        let help = "The hottest sensor of the box; NaN if there is none";
        r.register_with_unit("temperature", help, Unit::Celsius, metrics.temperature.clone());
        r.register_with_unit("resident_memory", "Memory of the agent", Unit::Bytes, metrics.resident.clone());
        Self { registry: Mutex::new(registry), ..metrics }
    }
}

impl Metrics {
    /// Tells what runs: `cxr_build_info`.
    pub fn describe(&self, model: &ModelRef) {
        let info = Info::new(vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model", model.name.clone()),
            ("model_version", model.version.clone()),
            ("model_sha256", model.sha256.clone()),
        ]);
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("build", "The agent and its model", info);
    }

    /// Adds a way by which images come in; closed until it says that it is open.
    pub fn gate(&self, name: &'static str) -> Arc<Gate> {
        let label = [("intake", name)];
        let gate = Arc::new(Gate {
            name,
            open: AtomicBool::new(false),
            accepted: self.accepted.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
        });
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gate));
        gate
    }

    /// A gate that is closed, if any.
    pub fn closed_gate(&self) -> Option<&'static str> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().find(|gate| !gate.open.load(Ordering::Relaxed)).map(|gate| gate.name)
    }

    pub(super) fn count_analysis(&self, latency: &LatencyMs) {
        self.analysed.inc();
        for (stage, ms) in [
            ("decode", latency.decode),
            ("preprocess", latency.preprocess),
            ("infer", latency.infer),
            ("postprocess", latency.postprocess),
        ] {
            self.stages.get_or_create(&[("stage", stage)]).observe(ms / 1000.0);
        }
    }

    /// An image was set aside.
    pub fn count_set_aside(&self) {
        self.set_aside.inc();
    }

    pub(super) fn count_delivery(&self, since_received: Option<Duration>) {
        self.delivered.inc();
        if let Some(duration) = since_received {
            self.received_to_published.observe(duration.as_secs_f64());
        }
    }

    /// Results delivered since the start.
    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Central has a result.
    pub fn count_acknowledgement(&self) {
        self.acknowledged.inc();
    }

    /// A command was answered. `verb` is one of the known ones or `other`.
    pub fn count_command(&self, verb: &'static str) {
        self.commands.get_or_create(&[("verb", verb)]).inc();
    }

    /// Whether a broker is connected.
    pub fn set_connected(&self, connected: bool) {
        if self.connected.set(i64::from(connected)) == 0 && connected {
            self.connections.inc();
        }
    }

    /// Whether a broker is connected.
    pub fn is_connected(&self) -> bool {
        self.connected.get() == 1
    }

    /// What waits, counted a moment ago.
    pub fn set_waiting(&self, census: &Census) {
        let waiting = &self.waiting;
        waiting.images.set(census.images_waiting as f64);
        waiting.results.set(census.results_waiting as f64);
        waiting.unacknowledged.set(census.unacknowledged as f64);
        waiting.set_aside.set(census.set_aside as f64);
        waiting.oldest_unsent.set(census.oldest_unsent_s.unwrap_or(0) as f64);
    }

    /// What the box has left.
    pub fn set_system(&self, disk: Option<Disk>, temperature_c: Option<f64>) {
        self.disk_free.set(disk.map_or(f64::NAN, |d| d.free_bytes as f64));
        self.disk.set(disk.map_or(f64::NAN, |d| d.bytes as f64));
        self.temperature.set(temperature_c.unwrap_or(f64::NAN));
        self.resident.set(Memory::now().map_or(f64::NAN, |m| m.rss_bytes as f64));
    }

    /// In OpenMetrics' text format.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use shared::manifest::Quantization;

    use super::*;

    #[test]
    fn what_was_counted_stands_in_the_text_under_its_unit_and_label() {
        let metrics = Metrics::default();
        metrics.describe(&ModelRef {
            name: "m".into(),
            version: "2".into(),
            sha256: "ab".into(),
            quantization: Quantization::F32,
        });
        let gate = metrics.gate("watch_folder");
        assert_eq!(metrics.closed_gate(), Some("watch_folder"));
        gate.set_open(true);
        assert_eq!(metrics.closed_gate(), None);
        gate.count_accepted();
        metrics.count_analysis(&LatencyMs { decode: 20.0, preprocess: 1.0, infer: 300.0, postprocess: 2.0 });
        metrics.count_delivery(Some(Duration::from_secs(2)));
        metrics.set_connected(true);
        metrics.set_connected(true);
        metrics.set_waiting(&Census { oldest_unsent_s: Some(90), results_waiting: 3, ..Census::default() });
        let text = metrics.encode().unwrap();
        for line in [
            "cxr_images_accepted_total{intake=\"watch_folder\"} 1",
            "cxr_images_refused_total{intake=\"watch_folder\"} 0",
            "cxr_stage_seconds_bucket{le=\"0.025\",stage=\"decode\"} 1",
            "cxr_stage_seconds_count{stage=\"infer\"} 1",
            "cxr_received_to_published_seconds_sum 2.0",
            "cxr_results_delivered_total 1",
            "cxr_results_waiting 3.0",
            "cxr_oldest_unsent_seconds 90.0",
            "cxr_broker_connected 1",
            "cxr_broker_connections_total 1",
            "model=\"m\",model_version=\"2\",model_sha256=\"ab\"} 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
    }
}
