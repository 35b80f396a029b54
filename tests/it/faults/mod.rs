//! The fault catalogue: what is provoked, what is promised, and the test that shows it.
//!
//! Each group lists its cases beside its tests; a test is named by its id (`s01_…`), or the case names the test
//! elsewhere that shows it. `docs/faults.md` is written from these lists, and a case whose test is not there fails.

mod calls;
mod daemon;
mod framing;
mod resources;
mod routing;
mod start;
mod storage;
mod streams;

use std::fmt::Write;
use std::path::Path;

/// One case of the catalogue.
#[derive(Debug)]
pub(crate) struct Case {
    /// As in the catalogue: a letter and two digits, and a small letter where one row of it has several cases.
    pub(crate) id: &'static str,
    /// What is provoked.
    pub(crate) provoked: &'static str,
    /// What has to happen.
    pub(crate) promised: &'static str,
    /// The test that shows it, by its path below `tests/it`: `faults::start::s01_…`, `crash::…`; or, where it can be
    /// provoked from within only, by its path in the crate: `crate::child::task_tests::d04_…`.
    pub(crate) test: &'static str,
}

const GROUPS: &[(&str, &[Case])] = &[
    ("Start", start::CASES),
    ("Calls", calls::CASES),
    ("Framing", framing::CASES),
    ("Routing", routing::CASES),
    ("Streams and processes", streams::CASES),
    ("Resources", resources::CASES),
    ("Daemon", daemon::CASES),
    ("Storage", storage::CASES),
];

/// Says which case runs: the output of a run is its list.
pub(crate) fn case(id: &str) {
    eprintln!("case {id}");
}

/// Says why a case was not tried on this machine.
pub(crate) fn skipped(id: &str, why: &str) {
    eprintln!("case {id} skipped: {why}");
}

fn page() -> String {
    let mut page = String::from(
        "# Faults\n\n\
         What goes wrong around a gateway, what mcp-wrapper promises then, and the test that shows it.\n\
         Written by the tests themselves (`cargo test --test it faults::`); `cargo test --test it NAME -- --nocapture` \
         runs one and prints its id.\n",
    );
    for (group, cases) in GROUPS.iter().filter(|(_, cases)| !cases.is_empty()) {
        write!(
            page,
            "\n## {group}\n\n| id | provoked | promised | test |\n| --- | --- | --- | --- |\n"
        )
        .unwrap();
        for case in *cases {
            let Case {
                id,
                provoked,
                promised,
                test,
            } = case;
            writeln!(page, "| {id} | {provoked} | {promised} | `{test}` |").unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_faults_is_what_is_tested() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let page = page();
    if page != before {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &page).unwrap();
        panic!(
            "docs/faults.md was out of date and has been written anew; look at the difference and commit it"
        );
    }
}

#[test]
fn every_case_has_its_test_and_every_id_stands_once() {
    let mut ids = std::collections::BTreeSet::new();
    for case in GROUPS.iter().flat_map(|(_, cases)| *cases) {
        assert!(ids.insert(case.id), "{} stands twice", case.id);
        let (module, name) = case.test.rsplit_once("::").unwrap();
        let (folder, module) = match module.strip_prefix("crate::") {
            Some(module) => ("src", module),
            None => ("tests/it", module),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .join(module.replace("::", "/"));
        let texts = [path.with_extension("rs"), path.join("mod.rs")]
            .map(|file| std::fs::read_to_string(file).unwrap_or_default());
        assert!(
            texts.iter().any(|text| text.contains(&format!("fn {name}("))),
            "{}: there is no test `{}`",
            case.id,
            case.test
        );
    }
}
