/// An endless sequence of batches, each a function of its number alone: a resumed training sees exactly the batches
/// that an uninterrupted one would have seen, whoever prepares them.
pub trait BatchSource: Send + Sync + 'static {
    /// What a batch is.
    type Batch: Named + Send + 'static;

    /// Batch `number`, from 0.
    fn batch(&self, number: u64) -> Self::Batch;
}

/// Something that can say which images are in it, so that a fault is traced to them.
pub trait Named {
    /// Ids of the images.
    fn ids(&self) -> &[String];
}
