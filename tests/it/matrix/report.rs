//! `docs/compatibility.md`: the section that a run of the matrix writes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::Ran;
use super::cell::{Door, Outcome, REVISIONS, Revision};
use super::table::FEATURES;

const BEGIN: &str = "<!-- matrix: begin -->\n";
const END: &str = "<!-- matrix: end -->";

/// The marks beside `B`, in the order in which a cell names them.
const MARKS: [&str; 16] = [
    "S", "s⁻", "R", "E", "E↓", "e⁻", "U", "u⁻", "a", "r", "j", "batch", "refused", "G", "T", "t°",
];

/// Writes the section anew, and fails when that changed it: whoever reads the file reads what the last run showed.
pub(crate) fn keep(ran: &[Ran]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let (before, rest) = text
        .split_once(BEGIN)
        .unwrap_or_else(|| panic!("no line `{}`", BEGIN.trim()));
    let (_, after) = rest
        .split_once(END)
        .unwrap_or_else(|| panic!("no line `{END}` after the other"));
    let new = format!("{before}{BEGIN}{}{END}{after}", section(ran));
    if new != text {
        std::fs::write(&path, new).unwrap();
        panic!(
            "docs/compatibility.md was out of date and has been written anew; look at the difference and commit it"
        );
    }
}

fn section(ran: &[Ran]) -> String {
    let not_defined = reasons(ran, "Not defined", |outcome| match outcome {
        Outcome::NotDefined(reason) => Some(reason),
        Outcome::Pass(_) => None,
    });
    format!("\n{}\n{}\n{not_defined}\n", cells(ran), features(ran))
}

type Passed = BTreeMap<&'static str, usize>;

/// How often each mark was earned in each cell.
fn marks(ran: &[Ran]) -> BTreeMap<(Revision, Door, Revision), Passed> {
    let mut all: BTreeMap<_, Passed> = BTreeMap::new();
    for one in ran {
        let cell = all.entry((one.client, one.door, one.child)).or_default();
        if let Ok(Outcome::Pass(mark)) = one.outcome {
            assert!(mark == "B" || MARKS.contains(&mark), "`{mark}` is no mark");
            *cell.entry(mark).or_default() += 1;
        }
    }
    all
}

fn cells(ran: &[Ran]) -> String {
    let marks = marks(ran);
    let is_passed = |one: &&Ran| matches!(one.outcome, Ok(Outcome::Pass(_)));
    let n_passed = ran.iter().filter(is_passed).count();
    let mut text = format!(
        "### Cells\n\n{} cells, {n_passed} features passed in them, none failed.\n\n",
        marks.len()
    );
    let heads = REVISIONS.map(|child| format!("child {child}")).join(" | ");
    writeln!(text, "| client | door | {heads} |\n|---|---|---|---|---|---|---|").unwrap();
    for client in REVISIONS {
        for door in Door::ALL.into_iter().filter(|door| door.is_open_to(client)) {
            let row = REVISIONS.map(|child| cell(&marks[&(client, door, child)]));
            writeln!(text, "| {client} | {} | {} |", door.name(), row.join(" | ")).unwrap();
        }
    }
    text
}

fn cell(passed: &Passed) -> String {
    let others = MARKS.into_iter().filter(|mark| passed.contains_key(mark));
    let base = format!("B {}", passed.get("B").copied().unwrap_or_default());
    let all: Vec<String> = [base]
        .into_iter()
        .chain(others.map(|mark| {
            let n = passed[mark];
            if n > 1 {
                format!("{mark} {n}")
            } else {
                mark.to_owned()
            }
        }))
        .collect();
    all.join(", ")
}

fn features(ran: &[Ran]) -> String {
    let mut text =
        "### Features\n\n| feature | what is asserted | passed | not defined |\n|---|---|---|---|\n"
            .to_owned();
    for (at, feature) in FEATURES.iter().enumerate() {
        let of_it: Vec<_> = ran.iter().filter(|one| one.feature == at).collect();
        let passed = |one: &&&Ran| matches!(one.outcome, Ok(Outcome::Pass(_)));
        let n_passed = of_it.iter().filter(passed).count();
        let n_others = of_it.len() - n_passed;
        writeln!(
            text,
            "| {} | {} | {n_passed} | {n_others} |",
            feature.name, feature.says
        )
        .unwrap();
    }
    text
}

/// Where nothing is asserted, and why.
fn reasons(ran: &[Ran], title: &str, reason_of: impl Fn(Outcome) -> Option<&'static str>) -> String {
    let mut reasons: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for one in ran {
        if let Some(reason) = one.outcome.as_ref().ok().copied().and_then(&reason_of) {
            *reasons.entry((one.feature, reason)).or_default() += 1;
        }
    }
    let mut text = format!("### {title}\n\n| feature | why | cells |\n|---|---|---|\n");
    for ((feature, reason), n) in reasons {
        writeln!(text, "| {} | {reason} | {n} |", FEATURES[feature].name).unwrap();
    }
    text
}
