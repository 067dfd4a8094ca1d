use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::{BatchSource, DatasetError};

/// Batches that one worker may have finished ahead of the trainer.
const AHEAD: usize = 2;

/// Prepares the batches of a plan on threads of its own and hands them over in order.
///
/// Worker w of W prepares batches w, w + W, …: who prepares a batch does not change what is in it, so
/// the number of workers does not change a training.
#[derive(Debug)]
pub struct Loader<B> {
    next: u64,
    end: u64,
    workers: Vec<Worker<B>>,
}

#[derive(Debug)]
struct Worker<B> {
    batches: Option<Receiver<B>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Loader<B> {
    /// Starts `workers` threads (at least one) that prepare the batches of `numbers`.
    pub fn start(source: &Arc<impl BatchSource<Batch = B>>, numbers: Range<u64>, workers: usize) -> Self {
        let stride = workers.max(1);
        let worker = |w: usize| {
            let (send, batches) = sync_channel(AHEAD);
            let (source, numbers) = (Arc::clone(source), numbers.clone());
            let thread = std::thread::spawn(move || {
                for number in numbers.skip(w).step_by(stride) {
                    // A closed channel: the trainer has stopped.
                    if send.send(source.batch(number)).is_err() {
                        return;
                    }
                }
            });
            Worker { batches: Some(batches), thread: Some(thread) }
        };
        Self {
            next: 0,
            end: numbers.end.saturating_sub(numbers.start),
            workers: (0..stride).map(worker).collect(),
        }
    }

    /// The most batches that can be ready before they are asked for.
    pub fn most_ahead(&self) -> usize {
        // Each worker may hold one more in its hands.
        (AHEAD + 1) * self.workers.len()
    }

    /// The next batch; none after the last.
    pub fn next_batch(&mut self) -> Option<Result<B, DatasetError>> {
        if self.next == self.end {
            return None;
        }
        let worker = &self.workers[(self.next % self.workers.len() as u64) as usize];
        self.next += 1;
        let batches = worker.batches.as_ref().expect("taken only on drop");
        Some(batches.recv().map_err(|_| DatasetError::Worker))
    }
}

impl<B> Drop for Loader<B> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Closing the channel wakes a worker that waits to send.
            worker.batches.take();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker's panic has been printed and reached the trainer as DatasetError::Worker.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;
    use crate::dataset::augment::AugmentSpec;
    use crate::dataset::{BatchPlan, PlanSpec, Pools, Sample};

    fn plan(batch: usize, strong: Vec<Sample>) -> Arc<BatchPlan> {
        let spec = PlanSpec {
            seed: 3,
            batch,
            phantom_share: 0.0,
            strong_weight: 0.9,
            unlabeled: None,
            devices: None,
            mean: 0.0,
            std: 1.0,
        };
        let pools = Pools { strong, ..Pools::default() };
        Arc::new(BatchPlan::new(spec, AugmentSpec::default(), pools).unwrap())
    }

    #[test]
    fn order_and_content_do_not_depend_on_the_number_of_workers() {
        let samples = (0..5_u16)
            .map(|i| Sample {
                id: i.to_string(),
                letterbox: Letterbox::new(8, 8, 8),
                image: vec![i * 9000; 64].into(),
                targets: vec![Some(vec![0; 64].into())],
            })
            .collect();
        let plan = plan(2, samples);
        for workers in [1, 3] {
            let mut loader = Loader::start(&plan, 4..11, workers);
            for number in 4..11 {
                assert_eq!(loader.next_batch().unwrap().unwrap(), plan.batch(number));
            }
            assert!(loader.next_batch().is_none());
        }
    }

    #[test]
    fn dropping_early_ends_the_workers() {
        let sample = Sample {
            id: "a".into(),
            letterbox: Letterbox::new(8, 8, 8),
            image: vec![0; 64].into(),
            targets: vec![None],
        };
        let plan = plan(1, vec![sample]);
        let mut loader = Loader::start(&plan, 0..1_000_000, 2);
        assert!(loader.next_batch().is_some());
        drop(loader);
        assert_eq!(Arc::strong_count(&plan), 1);
    }
}
