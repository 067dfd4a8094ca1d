//! A run of a session allocates nothing, on any number of threads.
//!
//! A test binary of its own: its allocator counts for the whole process, and no other test may run beside.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]
#![allow(dead_code, reason = "the builder serves other tests, too")]

#[path = "graphs/build.rs"]
mod build;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use build::{Build, Dim, f32s, int, ints, text};
use qdq::{Element, Isa, Options, Pool, Session, Sink, Source, lower};
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::Framework;

/// The system's allocator, which counts what is asked of it.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps this function's contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Convolutions of every sort, windows, sums, joints and tables: all that stands between images.
fn images() -> ModelProto {
    let mut build = Build::default();
    let image = build.image([1, 3, 19, 23]);
    let image = build.pair(&image, 0.01, 128);
    let wide = build.conv(&image, 24, 3);
    let wide = build.node("Relu", &[&wide], vec![]);
    let wide = build.pair(&wide, 0.02, 0);
    let depthwise = conv(&mut build, &wide, [24, 1, 3], 24, 2);
    let grouped = conv(&mut build, &wide, [24, 12, 3], 2, 2);
    let both = build.node("Add", &[&depthwise, &grouped], vec![]);
    let both = build.pair(&both, 0.04, 120);
    let swish = build.node("HardSwish", &[&both], vec![]);
    let swish = build.pair(&swish, 0.02, 30);
    let window = |kernel: i64| vec![ints("kernel_shape", &[kernel; 2]), ints("pads", &[kernel / 2; 4])];
    let most = build.node("MaxPool", &[&swish], window(3));
    let most = build.pair(&most, 0.02, 30);
    let mean = build.node("AveragePool", &[&swish], window(5));
    let mean = build.pair(&mean, 0.02, 30);
    let gate = build.node("GlobalAveragePool", &[&swish], vec![]);
    let gate = build.pair(&gate, 0.02, 30);
    let gated = build.node("Mul", &[&mean, &gate], vec![]);
    let gated = build.pair(&gated, 0.02, 30);
    let joined = build.node("Concat", &[&most, &gated], vec![int("axis", 1)]);
    let joined = build.pair(&joined, 0.02, 30);
    let point = conv(&mut build, &joined, [8, 48, 1], 1, 1);
    let scales = build.store(f32s("scales", &[4], &[1.0, 1.0, 2.0, 2.0]));
    let nearest = vec![
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    let large = build.node("Resize", &[&point, "", &scales], nearest);
    let large = build.pair(&large, 0.05, 100);
    let larger = build.node("Resize", &[&large, "", &scales], vec![text("mode", "linear")]);
    build.output(&larger, DataType::Float);
    build.model()
}

/// A convolution of outputs, inputs to a group, and kernel, between quantizations.
fn conv(
    build: &mut Build,
    tensor: &str,
    [outputs, inputs, kernel]: [i64; 3],
    group: i64,
    stride: i64,
) -> String {
    let count = i32::try_from(outputs * inputs * kernel * kernel).unwrap();
    let values: Vec<i32> = (0..count).map(|i| i * 37 % 101 - 50).collect();
    let weights = build.weights(&[outputs, inputs, kernel, kernel], &values, 0.004);
    let attributes = vec![
        ints("kernel_shape", &[kernel; 2]),
        ints("pads", &[kernel / 2; 4]),
        ints("strides", &[stride; 2]),
        int("group", group),
    ];
    let made = build.node("Conv", &[tensor, &weights], attributes);
    build.pair(&made, 0.05, 100)
}

/// Rows and vectors: from bytes to bytes, with what moves them about.
fn vectors() -> ModelProto {
    let mut build = Build::default();
    let image = build.input("image", DataType::Float, Some(&[2, 6, 4, 4].map(Dim::Is)));
    let image = build.pair(&image, 0.01, 128);
    let turned = build.node("Transpose", &[&image], vec![ints("perm", &[0, 2, 3, 1])]);
    let turned = build.pair(&turned, 0.01, 128);
    let flat = build.node("Flatten", &[&turned], vec![int("axis", 1)]);
    let flat = build.pair(&flat, 0.01, 128);
    let values: Vec<i32> = (0..10 * 96).map(|i| i * 37 % 101 - 50).collect();
    let weights = build.weights(&[10, 96], &values, 0.01);
    let made = build.node("Gemm", &[&flat, &weights], vec![int("transB", 1)]);
    let made = build.pair(&made, 0.05, 110);
    let made = build.node("Sigmoid", &[&made], vec![]);
    let bytes = build.quantize(&made, 1.0 / 255.0, 0, false);
    build.output(&bytes, DataType::Uint8);
    build.model()
}

/// Every model of the repository.
fn shipped() -> Vec<(String, ModelProto)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let files = std::fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path().join("model.onnx"));
    let read = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let model = tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()).unwrap();
        (path.display().to_string(), model)
    };
    files.filter(|path| path.exists()).map(read).collect()
}

/// What each of some runs asks of the allocator, after others that are not counted.
fn counts(session: &mut Session) -> Vec<usize> {
    enum Memory {
        Real(Vec<f32>),
        Bytes(Vec<u8>),
    }
    let memory = |end: &qdq::End| match end.element {
        Element::F32 => Memory::Real((0..end.len()).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect()),
        Element::U8 | Element::I8 => Memory::Bytes((0..end.len()).map(|i| i as u8).collect()),
    };
    let inputs: Vec<Memory> = session.inputs().iter().map(memory).collect();
    let mut outputs: Vec<Memory> = session.outputs().iter().map(memory).collect();
    let sources: Vec<Source<'_>> = inputs
        .iter()
        .map(|input| match input {
            Memory::Real(values) => Source::Real(values),
            Memory::Bytes(bytes) => Source::Bytes(bytes),
        })
        .collect();
    let mut sinks: Vec<Sink<'_>> = outputs
        .iter_mut()
        .map(|output| match output {
            Memory::Real(values) => Sink::Real(values),
            Memory::Bytes(bytes) => Sink::Bytes(bytes),
        })
        .collect();
    let mut counts = vec![0; 3];
    for _ in 0..2 {
        session.run(&sources, &mut sinks).unwrap();
    }
    for count in &mut counts {
        let before = COUNT.load(Ordering::SeqCst);
        session.run(&sources, &mut sinks).unwrap();
        *count = COUNT.load(Ordering::SeqCst) - before;
    }
    counts
}

#[test]
fn steady_runs_allocate_nothing() {
    let mut models = vec![("images".to_owned(), images()), ("vectors".to_owned(), vectors())];
    models.extend(shipped());
    assert!(models.len() >= 3, "no shipped model was found");
    let pools = [1, 2].map(|threads| Arc::new(Pool::new(threads)));
    for (name, model) in &models {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            for pool in &pools {
                let options = Options { isa, pool: Arc::clone(pool) };
                let lowered = lower(model, &options).unwrap();
                assert_eq!(lowered.report().left, [], "{name}");
                let mut session = lowered.session().unwrap();
                assert_eq!(counts(&mut session), [0; 3], "{name} on {isa}, {} threads", pool.threads());
            }
        }
    }
}
