//! The course of a training for other programs: `events.jsonl` with one object a line, and a TensorBoard event file.
//!
//! Both are only ever appended to. A resumed training repeats the steps since its last checkpoint, with the same
//! numbers: readers take the last line of a step, as TensorBoard does. `history.csv` has each step once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use serde_json::{Map, json};

use super::{HistoryRow, Job};

const LINES: &str = "events.jsonl";

/// The two open files.
#[derive(Debug)]
pub(super) struct EventLog {
    lines: File,
    tensorboard: File,
}

impl EventLog {
    /// Opens `events.jsonl` and a fresh event file in the folder of a run.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let append = |name: &str| OpenOptions::new().create(true).append(true).open(dir.join(name));
        // TensorBoard tells event files by this part of the name, and orders them by it.
        let name = format!("events.out.tfevents.{:.0}.{}", seconds(), std::process::id());
        cut_torn_line(&dir.join(LINES))?;
        let mut log = Self { lines: append(LINES)?, tensorboard: append(&name)? };
        log.record(&Event {
            wall_time: seconds(),
            step: 0,
            file_version: Some("brain.Event:2".into()),
            summary: None,
        })?;
        Ok(log)
    }

    /// Appends one line of the history to both.
    pub(super) fn write(&mut self, job: &Job, row: &HistoryRow) -> io::Result<()> {
        let mut values = vec![
            ("train/loss".to_owned(), row.loss),
            ("train/learning_rate".to_owned(), row.learning_rate),
            ("train/grad_norm".to_owned(), row.grad_norm),
            ("train/images_per_second".to_owned(), row.images_per_second),
        ];
        values.extend(row.mean_score.map(|score| (format!("validation/mean_{}", job.metric), score)));
        for (label, score) in job.labels.iter().zip(&row.scores) {
            values.extend(score.map(|score| (format!("validation/{}_{label}", job.metric), score)));
        }
        let mut object = Map::from_iter([
            ("stage".to_owned(), json!(job.stage)),
            ("step".to_owned(), json!(row.step)),
            ("time".to_owned(), json!(seconds())),
        ]);
        object.extend(values.iter().map(|(name, value)| (name.clone(), json!(value))));
        // One write, so that a kill leaves whole lines.
        self.lines.write_all(format!("{}\n", serde_json::Value::Object(object)).as_bytes())?;
        let value = values.into_iter().map(|(tag, v)| Value { tag: Some(tag), simple_value: Some(v as f32) });
        self.record(&Event {
            wall_time: seconds(),
            step: row.step as i64,
            file_version: None,
            summary: Some(Summary { value: value.collect() }),
        })
    }

    /// A TFRecord: length, its checksum, the message, its checksum.
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let message = event.encode_to_vec();
        let length = (message.len() as u64).to_le_bytes();
        let mut bytes = length.to_vec();
        bytes.extend(masked_crc(&length).to_le_bytes());
        bytes.extend(&message);
        bytes.extend(masked_crc(&message).to_le_bytes());
        self.tensorboard.write_all(&bytes)
    }
}

/// What a full disk has left of a line would spoil the next one too.
fn cut_torn_line(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read(path)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    if whole < text.len() {
        OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(())
}

/// TFRecord's checksum: CRC-32C, rotated and shifted so that a checksum of data with checksums is no fixed point.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Since 1970.
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The part of TensorFlow's `event.proto` that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    tag: Option<String>,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Stage, tiny};

    #[test]
    fn records_frame_messages_with_checksums_and_lines_are_objects() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::new(&tiny(""), Stage::Train);
        let row = HistoryRow {
            step: 7,
            loss: 0.5,
            mean_score: Some(0.25),
            scores: vec![Some(0.25), None],
            ..HistoryRow::default()
        };
        EventLog::open(dir.path()).unwrap().write(&job, &row).unwrap();

        let text = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((line["step"].as_u64(), line["train/loss"].as_f64()), (Some(7), Some(0.5)));
        assert_eq!(line["validation/iou_left_lung"], 0.25);
        assert!(line.get("validation/iou_heart").is_none());

        let file = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.to_string_lossy().contains("tfevents")).unwrap();
        let mut bytes = &std::fs::read(file).unwrap()[..];
        let mut events = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
            let n = u64::from_le_bytes(*length) as usize;
            assert_eq!(rest[..4], masked_crc(length).to_le_bytes());
            let message = &rest[4..4 + n];
            assert_eq!(rest[4 + n..8 + n], masked_crc(message).to_le_bytes());
            events.push(Event::decode(message).unwrap());
            bytes = &rest[8 + n..];
        }
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(events[1].step, 7);
        assert_eq!(events[1].summary.as_ref().unwrap().value.len(), 6);
    }

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // RFC 3720, B.4: 32 bytes of zero.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
