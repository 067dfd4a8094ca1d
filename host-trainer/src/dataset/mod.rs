//! Radiographs with masks: where they come from and how they become batches.
//!
//! ```text
//! folder, CheXpert, CheXlocalize, COCO, index ─► Index of Records ─► Annotated (source pixels) ─┐
//! phantom parameters ─────────────────────────► shared::phantom ─────────────────────────────── ┴► Sample (model size)
//! Sample + draw number ─► augment ─► Example ─► Batch ─► Loader (bounded, ahead of the trainer)
//! ```
//!
//! A batch is a pure function of (seed, number): no generator runs on from batch to batch, so a resumed
//! training sees exactly the batches that an uninterrupted one would have seen.
//!
//! A class that a source does not annotate is unknown there, never absent: it has no target and takes no
//! part in losses and metrics of that image.

pub mod augment;
mod batch;
mod batch_source;
mod coded;
mod error;
#[cfg(feature = "torch")]
mod file_digests;
mod import;
mod labelled;
mod loader;
mod memory;
mod normal;
mod order;
mod phantoms;
mod plan;
mod promised;
mod record;
mod root;
mod sample;
mod source;
mod streams;
mod template;
mod unique_map;
mod unlabeled;

pub use batch::Batch;
pub use batch_source::{BatchSource, Named};
pub use coded::CodedSample;
pub use error::DatasetError;
#[cfg(feature = "torch")]
pub(crate) use file_digests::FileDigests;
pub use import::{ImportOptions, ImportReport, ImportStep, Summary, SummaryRow, import};
pub use labelled::{Labelled, LabelledBatch, LabelledDraw, LabelledPlan, label_of, load_labelled};
pub use loader::Loader;
pub(crate) use memory::ensure_room;
pub use normal::{FORMAT, Header, INDEX_FILE, IndexSpec, VERSION};
pub use phantoms::{DEVICE_RANGE, PhantomSpec, device_pool, phantom_pool, pool_params, write_phantom_folder};
pub use plan::{BatchPlan, DeviceDraw, DrawKind, PlanSpec, Pools};
pub use promised::Promised;
pub(crate) use promised::file_digest;
pub use record::{Finding, Index, MaskSource, Record, Split};
pub use root::data_root;
#[cfg(feature = "torch")]
pub(crate) use sample::in_parallel;
pub use sample::{Annotated, Sample, load_annotated, load_samples, load_samples_on};
pub use source::{
    Blank, CheXlocalizeSpec, CheXpertSpec, CocoSpec, DataSpec, FindingSpec, FolderSpec, Imported,
    MissingMask, Problem, Uncertain, import_all,
};
pub use streams::{Stream, stream_rng};
pub use template::Template;
pub(crate) use unique_map::UniqueMap;
pub use unlabeled::{StrongView, UnlabeledBatch, ViewSpec};
