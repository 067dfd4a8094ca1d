//! Harness of the end-to-end tests: the real parts around the agent, started and stopped by value.
//!
//! Everything here waits for a condition with a generous bound and fails with what it last saw; nothing
//! depends on how fast the machine is.

mod agent;
mod central;
mod certificates;
mod clock;
mod data;
mod dcmtk;
mod device;
mod dice;
mod mosquitto;
mod orthanc;
mod postgres;
mod proxy;
mod python;
mod site;
mod storescp;
mod stream;
mod subscriber;

pub use agent::{Agent, AgentSetup};
pub use central::{Central, CentralSetup};
pub use certificates::certificates;
pub use clock::Clock;
pub use data::{phantom_dicom, phantom_png, real_data, shipped_bundle, workspace};
pub use dcmtk::{Unit, convert, dicom_file, stored};
pub use device::{Device, result};
pub use dice::Dice;
pub use mosquitto::{Mosquitto, free_port};
pub use orthanc::Orthanc;
pub use postgres::Postgres;
pub use proxy::FlakyLink;
pub use python::{python, python_command};
pub use site::Site;
pub use storescp::StoreScp;
pub use stream::Exposures;
pub use subscriber::Subscriber;

use std::time::{Duration, Instant};

/// Longest that a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `poll` gives a value.
///
/// # Panics
/// If it has not within [`PATIENCE`]; `what` says what was awaited.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
