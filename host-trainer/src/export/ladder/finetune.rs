use std::slice;

use super::Climb;
use crate::config::{Config, Stage, StageSpec};
use crate::dataset::{Index, Loader};
use crate::export::ExportError;
use crate::net::Params;
use crate::quantize::QuantizedGraph;
use crate::train::{Images, Job, ModelFile, ModelInfo, Progress, Teacher, Teachers, Trainer, Window};

/// Trains the folded network further, rounded as `quantized` says, on what the stage `train` learns from, beside the f32
/// network's advice. Gives the average of its weights.
pub(super) fn finetune(
    climb: &Climb<'_>,
    quantized: &QuantizedGraph,
    index: &Index,
) -> Result<Params, ExportError> {
    let (spec, train) = (&climb.config.export.quantize, &climb.config.train);
    let steps = spec.finetune_steps;
    let train = StageSpec {
        steps,
        learning_rate: spec.finetune_learning_rate,
        warmup: steps / 10,
        ema_decay: 0.98,
        ..train.clone()
    };
    let mut config = Config { train, consistency: None, ..climb.config.clone() };
    config.distillation.classes.clear();
    // The f32 network that is folded too: what it knows shall not be lost.
    let info = ModelInfo { graph: climb.graph.clone(), stage: Stage::Train, ..climb.model.info.clone() };
    let exact = ModelFile { info, params: climb.params.clone() };
    let begin = ModelFile { params: quantized.params.clone(), ..exact.clone() };
    let mut task =
        Images::of_splits(&config, Stage::Train, index, None)?.task(&config, Stage::Train, climb.device)?;
    let exact = Teacher { model: exact, classes: Vec::new() };
    task.teachers = Some(Teachers::new(&config, slice::from_ref(&exact), climb.device)?);
    let job = Job { graph: quantized.graph.clone(), ..Job::new(&config, Stage::Train) };
    let (mut trainer, _) = Trainer::new(&job, climb.device, Some(&begin))?;
    trainer.round(&quantized.rounding());
    let progress = Progress::start("fine-tuning in 8 bits", 0, steps);
    let mut loader = Loader::start(&task.plan, 0..steps, 1);
    let mut window = Window::new();
    while let Some(batch) = loader.next_batch() {
        window.add(trainer.step(&task, &batch?)?);
        let step = trainer.state().step;
        progress.advance(step);
        if step.is_multiple_of(job.spec.log_every) || step == steps {
            progress.show(step, &window, window.images_per_second(job.spec.batch));
            window = Window::new();
        }
    }
    Ok(trainer.averaged().to_params())
}
