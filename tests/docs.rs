//! The pages below `docs/` say which test shows what. Here they are held to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The tests that a page names, as `file.rs::name` between backticks.
fn named_in(page: &str) -> Vec<(&str, &str)> {
    let code = page.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once(".rs::").map(|(file, name)| (file, name.trim()))).collect()
}

/// Where a file is whose name stands on a page.
fn source(file: &str) -> PathBuf {
    let from_the_root = file.starts_with("crates/") || file.starts_with("tests/");
    let dir = if from_the_root { root() } else { root().join("tests/pipeline") };
    dir.join(file).with_extension("rs")
}

fn is_there(file: &str, name: &str) -> bool {
    let source = fs::read_to_string(source(file)).unwrap_or_default();
    source.contains(&format!("fn {name}("))
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();

    let mut missing = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        let absent = named_in(&text).into_iter().filter(|(file, name)| !is_there(file, name));
        missing.extend(absent.map(|(file, name)| format!("{} names {file}.rs::{name}", page.display())));
    }

    assert!(missing.is_empty(), "{missing:#?}");
}

/// What stands behind `chaos:` on a page, up to the next item or the end of the cell.
fn classes_in(page: &str) -> Vec<&str> {
    let lists = page.split("chaos: ").skip(1).map(|rest| {
        rest.split([' ', '|', '·', '.']).scan(true, |more, word| {
            let goes_on = std::mem::replace(more, word.ends_with(','));
            goes_on.then(|| word.trim_end_matches(','))
        })
    });
    lists.flatten().filter(|class| !class.is_empty()).collect()
}

#[test]
fn every_class_of_chaos_that_a_page_names_is_injected() {
    let page = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let faults = fs::read_to_string(root().join("tests/chaos/fault.rs")).unwrap();

    let classes = classes_in(&page);

    assert!(classes.len() > 20, "{classes:?}");
    let unknown: Vec<_> = classes.iter().filter(|class| !faults.contains(&format!("\"{class}\""))).collect();
    assert_eq!(unknown, Vec::<&&str>::new());
}

#[test]
fn the_page_of_faults_names_a_test_or_a_gap_for_every_row_but_one() {
    let page = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")).collect();

    // Two contacts that make two conversations: there are none.
    let bare: Vec<_> = rows.iter().filter(|row| named_in(row).is_empty()).map(|row| &row[..6]).collect();

    assert_eq!((rows.len(), bare), (33 + 8 + 21, vec!["| C14 "]));
}

/// The programs that a page shows: each behind a link to its file, in a block of its own.
fn shown_on(page: &str) -> Vec<(&str, &str)> {
    let links = page.split("](../").skip(1).filter_map(|rest| rest.split_once(")\n\n```"));
    links.filter_map(|(file, rest)| Some((file, rest.split_once('\n')?.1.split_once("```\n")?.0))).collect()
}

#[test]
fn the_page_for_receivers_shows_the_programs_that_are_tested() {
    let page = fs::read_to_string(root().join("docs/receiving.md")).unwrap();

    let shown = shown_on(&page);

    assert_eq!(shown.len(), fs::read_dir(root().join("tests/receivers")).unwrap().count());
    for (file, text) in shown {
        let program = fs::read_to_string(root().join(file)).unwrap();
        assert!(text == program, "docs/receiving.md shows another {file} than the one that is tested");
    }
}
