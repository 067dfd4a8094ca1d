//! The central side: takes the results of many devices from the broker, keeps each once, acknowledges it, and hands it
//! on to a PACS.
//!
//! A result's way: broker → [`subscriber`] → [`database`] (commit) → `ack` to the device, PUBACK to the broker →
//! [`pacs`]. Nothing is held between broker and database: what was not committed is not acknowledged, and comes again.

pub mod cli;
pub mod config;
mod daemon;
pub mod database;
pub mod dicom;
pub mod pacs;
pub mod subscriber;
mod watch;
