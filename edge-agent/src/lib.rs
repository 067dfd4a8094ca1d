//! CheXseg Edge's device: takes radiographs beside the X-ray unit, segments them, stores and publishes the
//! masks.
//!
//! A radiograph's way: intake → [`store`] → [`decode`] → preprocess → [`engine`] → postprocess → outbox →
//! publisher. [`infer`] is its middle part; [`config`] says what differs between devices.

pub mod bench;
pub mod central;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod decode;
pub mod demo;
pub mod engine;
pub mod exit_code;
pub mod health;
pub mod infer;
pub mod inputs;
pub mod intake;
mod meanwhile;
pub mod pipeline;
pub mod publisher;
pub mod shutdown;
pub mod specimen;
pub mod store;
pub mod telemetry;
#[doc(hidden)]
pub mod testing;
pub mod tls;
pub mod web;
