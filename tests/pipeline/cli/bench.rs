//! That `bench` measures what it says it measures; how fast is not for a test to say.

use std::{fs, process::Command};

use latchhook::servers::ScratchDir;
use serde_json::Value;

#[test]
fn a_quick_bench_measures_every_part_and_finds_nothing_wrong() {
    let directory = ScratchDir::new().unwrap();
    let (report, chart) = (directory.path().join("report.json"), directory.path().join("chart.svg"));

    let ended = Command::new(tests::binary())
        .args(["bench", "--quick", "--only", "base,endpoints=3", "--events", "300", "--report"])
        .arg(&report)
        .arg("--svg")
        .arg(&chart)
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .output()
        .unwrap();

    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let base = &report["runs"][0];
    let cases: Vec<_> = report["runs"].as_array().unwrap().iter().map(|run| run["case"].as_str().unwrap()).collect();
    assert_eq!((cases, base["at_rates"].as_array().unwrap().len()), (vec!["base", "endpoints=3"], 4));
    assert_eq!((base["events"].as_u64(), &base["wrong"]), (Some(300), &Value::Array(Vec::new())));
    assert!(base["events_per_second"].as_f64() > Some(0.0) && base["delivery"]["p50_us"].as_u64() > Some(0));
    assert!(fs::read_to_string(chart).unwrap().starts_with("<svg"));
}
