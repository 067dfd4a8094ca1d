//! Ways into the agent. Each makes an image durable in the [store](crate::store) before it answers for it.

mod scan;
mod settle;
pub mod sop_classes;
pub mod store_scp;
pub mod watch_folder;

pub use scan::fingerprint;
