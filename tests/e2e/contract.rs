//! What the agent says on the wire is what the published contract says.

use e2e_tests::{AgentSetup, phantom_png, python, shipped_bundle, workspace};

use crate::AGENT;

#[test]
fn results_validate_against_the_published_json_schema() {
    let setup = AgentSetup::new(AGENT, 1);
    phantom_png(&setup.inbox().join("a.png"), 5, 500, 400);
    phantom_png(&setup.inbox().join("b.png"), 6, 400, 500);
    let bundle = shipped_bundle();
    let output =
        setup.command(&["infer", "--json", "--bundle", bundle.to_str().unwrap(), "inbox"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = setup.inbox().join("results.ndjson");
    std::fs::write(&file, output.stdout).unwrap();
    let schema = workspace().join("shared/contract/result.schema.json");
    let count = python("python/validate_json.py", &[schema.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(count.trim(), "2");
}
