//! Verifies what an agent depends on before it is trusted with images: configuration, bundle, folders, broker.

pub(crate) mod broker;
mod folders;
pub mod golden;

use std::path::Path;

use shared::bundle::{Bundle, Trust};

use crate::config::AgentConfig;
use crate::exit_code::{Exit, ExitStatus};
use crate::infer::{Analyzer, AnalyzerOptions};
use crate::intake::store_scp;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// What was found, for people.
    pub outcome: Result<String, Failure>,
}

/// What is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Both, in words.
    pub problem: String,
    /// The class of failure.
    pub exit: Exit,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of dependence: what fails first explains what follows.
    pub checks: Vec<Check>,
}

impl Check {
    pub(crate) fn new(name: impl Into<String>, exit: Exit, outcome: Result<String, impl ToString>) -> Self {
        let outcome = outcome.map_err(|e| Failure { problem: e.to_string(), exit });
        Self { name: name.into(), outcome }
    }
}

impl Report {
    /// The code of the first failure.
    pub fn exit(&self) -> Exit {
        self.checks.iter().find_map(|c| c.outcome.as_ref().err()).map_or(Exit::Ok, |failure| failure.exit)
    }
}

/// How much of what a configuration names is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// What the agent cannot start without. It waits for a broker and a watched folder, and on a full disk it still
    /// sends what it has.
    Essential,
}

/// Looks at a configuration and what it names.
pub async fn config(path: &Path, scope: Scope) -> Report {
    let config = match AgentConfig::load(path) {
        Ok(config) => config,
        Err(error) => {
            return Report { checks: vec![Check::new("configuration", error.exit(), Err(error))] };
        }
    };
    let name = format!("{}/{}", config.site, config.device);
    let mut report =
        Report { checks: vec![Check::new("configuration", Exit::Config, Ok::<_, String>(name))] };
    let options = AnalyzerOptions { limits: config.limits.decode() };
    report.checks.extend(bundle(&config.bundle, &config.trust(), config.threads, options).checks);
    report.checks.push(folders::state(&config));
    if let Some(dicom) = &config.dicom {
        report.checks.push(Check::new("DICOM", Exit::Config, store_scp::check(dicom)));
    }
    if scope == Scope::All {
        report.checks.extend(folders::others(&config));
        report.checks.push(broker::check(&config).await);
    }
    report
}

/// Looks at a bundle: signature, digests and manifest, then the graph, then its golden images.
pub fn bundle(dir: &Path, trust: &Trust, threads: usize, options: AnalyzerOptions) -> Report {
    let mut report = Report::default();
    let mut add = |name, outcome| report.checks.push(Check::new(name, Exit::Bundle, outcome));
    let bundle = match Bundle::open_trusted(dir, trust) {
        Ok(bundle) => bundle,
        Err(error) => {
            add("bundle", Err(error.to_string()));
            return report;
        }
    };
    let manifest = bundle.manifest();
    add("bundle", Ok(format!("{} {} at {}", manifest.name, manifest.version, dir.display())));
    if let Some(signature) = bundle.signature() {
        add("signature", Ok(signature.to_string()));
    }
    let mut analyzer = match Analyzer::with_tract(&bundle, threads, options) {
        Ok(analyzer) => analyzer,
        Err(error) => {
            report.checks.push(Check::new("graph", error.exit(), Err(error)));
            return report;
        }
    };
    add("graph", Ok(analyzer.engine()));
    let golden = golden::verify(&bundle, &mut analyzer);
    add("golden images", golden.map(|report| report.to_string()).map_err(|e| e.to_string()));
    report
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::write_bundle;

    fn failures(report: &Report) -> Vec<(&str, &str)> {
        let failed = |c: &'_ Check| c.outcome.is_err();
        report
            .checks
            .iter()
            .filter(|c| failed(c))
            .map(|c| (c.name.as_str(), c.outcome.as_ref().unwrap_err().problem.as_str()))
            .collect()
    }

    fn lax() -> Trust {
        Trust { allow_unsigned: true, ..Trust::project() }
    }

    #[test]
    fn a_whole_bundle_passes_and_its_missing_signature_is_told() {
        let dir = tempfile::tempdir().unwrap();
        write_bundle(dir.path()).unwrap();
        let report = bundle(dir.path(), &lax(), 1, AnalyzerOptions::default());
        assert_eq!(report.exit(), Exit::Ok, "{report:?}");
        assert_eq!(report.checks.len(), 4);
        assert_eq!(report.checks[1].outcome, Ok("NOT SIGNED".to_owned()));
        let report = bundle(dir.path(), &Trust::project(), 1, AnalyzerOptions::default());
        assert_eq!(report.exit(), Exit::Bundle);
        assert!(failures(&report)[0].1.contains("is not signed"), "{report:?}");
    }

    #[test]
    fn an_altered_bundle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_bundle(dir.path()).unwrap();
        fs::write(dir.path().join("model.onnx"), b"evil").unwrap();
        let report = bundle(dir.path(), &lax(), 1, AnalyzerOptions::default());
        assert_eq!(report.exit(), Exit::Bundle);
        assert!(failures(&report)[0].1.contains("model.onnx is altered"), "{report:?}");
    }

    #[tokio::test]
    async fn every_failure_is_listed_with_its_remedy_and_the_first_gives_the_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        // A port of a listener that is gone.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "site='s'\ndevice='d'\nbundle='nowhere'\nstate_dir='state'\n[mqtt]\nhost='127.0.0.1'\nport={port}\n\
             [watch_folder]\npath='absent'\n"
        );
        fs::write(&path, text).unwrap();
        let report = config(&path, Scope::All).await;
        let names: Vec<&str> = failures(&report).iter().map(|f| f.0).collect();
        assert_eq!(names, ["bundle", "watched folder", "broker"], "{report:?}");
        assert_eq!(report.exit(), Exit::Bundle);
        let broker = failures(&report)[2].1;
        assert!(broker.contains(&format!("127.0.0.1:{port}")) && broker.contains("mqtt.host"), "{broker}");
        assert!(!dir.path().join("state").exists(), "a check changes nothing");
        let report = config(&path, Scope::Essential).await;
        let names: Vec<&str> = failures(&report).iter().map(|f| f.0).collect();
        assert_eq!(names, ["bundle"], "the agent waits for the rest");
    }

    #[tokio::test]
    async fn an_unknown_key_is_a_configuration_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, "colour = 1\n").unwrap();
        let report = config(&path, Scope::All).await;
        assert_eq!(report.exit(), Exit::Config);
        assert!(failures(&report)[0].1.contains("colour"), "{report:?}");
    }
}
