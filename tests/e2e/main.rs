//! End-to-end tests: the agent and the trainer among the real parts that they meet in the field.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod bad_input;
mod broker;
mod central;
mod contract;
mod deploy;
mod dicom;
mod faults;
mod infer;
mod measure;
mod pacs;
mod quality;
mod rle;
#[cfg(feature = "torch")]
mod trainer;

/// The agent's binary.
const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");

/// The central server's binary.
const CENTRAL: &str = env!("CARGO_BIN_EXE_central-under-test");
