use super::*;

fn report(runs: &[(Subject, &str, f64)]) -> Report {
    let mut cases: Vec<_> = runs.iter().map(|(_, case, _)| Case::example(case)).collect();
    cases.dedup();
    let runs = runs.iter().map(|(subject, case, rate)| Run::example(*subject, case, *rate)).collect();
    Report { machine: Machine::example(), runs, cases }
}

#[test]
fn several_runs_of_one_case_are_one_row_of_medians_with_their_spread() {
    let base = |rate| (Subject::Latchhook, "base", rate);
    let report = report(&[base(100.0), base(900.0), base(400.0)]);

    let table = report.throughput().to_string();

    assert_eq!(report.rows().count(), 1);
    assert!(table.contains("400 (100–900)"), "{table}");
}

#[test]
fn all_kinds_of_threads_of_the_stages_are_one_sum() {
    let table = report(&[(Subject::Latchhook, "base", 100.0)]).throughput().to_string();

    assert!(table.contains("35.0") && table.contains("25.0"), "all parts, and the stages: {table}");
}

#[test]
fn only_what_was_measured_of_both_subjects_is_compared() {
    let (base, slow) = ((Subject::Latchhook, "base", 500.0), (Subject::Latchhook, "slow", 100.0));
    let report = report(&[base, (Subject::Ceiling, "base", 1000.0), slow]);

    assert_eq!(report.ratios(), ["base: latchhook has 0.50 × the ceiling's events/s, at 1.00 × its CPU time"]);
}

#[test]
fn what_a_duplicate_costs_is_what_is_left_when_the_new_events_are_taken_away() {
    let queued = |case| (Subject::Latchhook, case, 500.0);
    let mut report = report(&[queued("queued-duplicates=0"), queued("queued-duplicates=0.8")]);
    for (place, (share, worker, redis)) in [(0.0, 20.0, 10.0), (0.8, 8.0, 2.0)].into_iter().enumerate() {
        report.cases[place].duplicates = share;
        let used = [("stages: worker", worker), ("stages: producer", 1.0), ("redis", redis)];
        report.runs[place].behind_us = used.map(|(name, used)| (name.to_owned(), used)).into();
    }

    let line = report.duplicate().unwrap();

    assert_eq!(line, "behind the queue a duplicate costs 0.17 × a new event (5.0 µs against 30.0)");
    report.cases[0].duplicates = 0.2;
    assert_eq!(report.duplicate(), None, "what a new event costs alone was not measured");
}

#[test]
fn a_run_that_was_wrong_makes_the_report_wrong_and_is_named() {
    let mut report = report(&[(Subject::Latchhook, "base", 500.0)]);
    assert!(report.is_right());

    report.runs[0].wrong.push("flat: 1 forged deliveries, not 0".to_owned());

    assert!(!report.is_right());
    assert!(report.to_string().contains("WRONG: base, latchhook: flat: 1 forged deliveries, not 0"));
}
