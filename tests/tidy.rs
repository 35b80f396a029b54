//! The house keeps its own rules: who may know whom, and what stands in no file.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot read its own house has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules, lowest first: each may name earlier ones only. The table in `src/lib.rs` says the same.
const ORDER: &[&str] = &[
    "ids",
    "access",
    "event",
    "api",
    "retry",
    "place",
    "config",
    "rpc",
    "tasks",
    "telemetry",
    "login_path",
    "advice",
    "registry",
    "child",
    "supervise",
    "declare",
    "catalog",
    "route",
    "session",
    "bridge",
    "front",
    "ctl",
    "demo",
    "app",
];
/// Lines of a source file that are worth a look, and that are too many.
const N_LINES_TOLD: usize = 500;
const N_LINES_MAX: usize = 800;

// === The rules ===

#[test]
fn a_module_names_lower_modules_only() {
    assert_none(offences(upward_references));
}

#[test]
fn the_order_and_the_tree_name_the_same_modules() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut declared: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut ordered = ORDER.to_vec();
    declared.sort_unstable();
    ordered.sort_unstable();
    assert_eq!(declared, ordered);
    let table: String = lib.lines().filter(|line| line.starts_with("//! |")).collect();
    let mut places: Vec<_> = ORDER
        .iter()
        .map(|module| {
            table
                .find(&format!("`{module}`"))
                .unwrap_or_else(|| panic!("the table in src/lib.rs does not name `{module}`"))
        })
        .collect();
    places.reverse();
    assert!(
        places.is_sorted(),
        "the table in src/lib.rs has another order: {places:?}"
    );
}

#[test]
fn stdout_is_written_in_one_place() {
    assert_none(offences(prints));
}

#[test]
fn tasks_are_started_in_one_place() {
    assert_none(offences(loose_tasks));
}

#[test]
fn routes_are_made_where_each_gets_a_rule() {
    assert_none(offences(ruleless_routes));
}

#[test]
fn nothing_is_left_to_be_done() {
    assert_none(offences(leftovers));
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_none(offences(nameless));
}

#[test]
fn files_are_short() {
    for (path, text) in sources() {
        let n = text.lines().count();
        if n > N_LINES_TOLD && !is_test_file(&path) {
            eprintln!("{path}: {n} lines, more than {N_LINES_TOLD}");
        }
    }
    assert_none(offences(too_long));
}

#[test]
fn no_text_speaks_of_one_machine_or_one_day() {
    let all = tracked();
    assert!(all.len() > 10, "git names hardly any file: {all:?}");
    let told = all.iter().filter_map(|path| {
        let text = fs::read_to_string(root().join(path)).ok()?;
        Some(traces(path, &text))
    });
    assert_none(told.flatten().collect());
}

// === The finders ===

type Finder = fn(&str, &str) -> Vec<String>;

/// `src/ids.rs:64: ids -> child`.
fn upward_references(path: &str, text: &str) -> Vec<String> {
    let Some(own) = module_of(path) else {
        return Vec::new();
    };
    let rank = |module: &str| ORDER.iter().position(|other| *other == module);
    let code = code_only(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if !is_whole_word {
            continue;
        }
        for named in first_names(&code[at + "crate::".len()..]) {
            // What is no module is a name of the crate's root, and lies above all.
            if named != own && (rank(&named).is_none() || rank(&named) > rank(own)) {
                found.push(format!("{path}:{}: {own} -> {named}", line_of(&code, at)));
            }
        }
    }
    found
}

/// The first name of each path in `a::b`, `{a, b::{c, d}, e as f}`.
fn first_names(after: &str) -> Vec<String> {
    let Some(list) = after.strip_prefix('{') else {
        return word(after).into_iter().collect();
    };
    let (mut depth, mut names, mut begins) = (0, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.extend(word(&list[at..]));
                begins = false;
            }
            _other => {}
        }
    }
    names
}

fn word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let ends = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (ends > 0).then(|| text[..ends].to_owned())
}

fn prints(path: &str, text: &str) -> Vec<String> {
    if path == "src/ctl/render.rs" {
        return Vec::new();
    }
    lines_with(path, &code_only(text), &["println!", "print!"])
}

fn loose_tasks(path: &str, text: &str) -> Vec<String> {
    if path == "src/tasks.rs" {
        return Vec::new();
    }
    lines_with(path, &code_only(text), &["tokio::spawn(", "task::spawn("])
}

fn ruleless_routes(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("src/front/") || path == "src/front/http/routes.rs" {
        return Vec::new();
    }
    let ways = [
        ".route(",
        ".nest(",
        ".route_service(",
        ".nest_service(",
        "Router::new(",
    ];
    lines_with(path, &code_only(text), &ways)
}

fn leftovers(path: &str, text: &str) -> Vec<String> {
    lines_with(path, &code_only(text), &["todo!", "unimplemented!", "#[ignore"])
}

fn nameless(path: &str, text: &str) -> Vec<String> {
    let says = text.starts_with("//! ");
    if says {
        Vec::new()
    } else {
        vec![format!("{path}:1: no `//!` that says what it is for")]
    }
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let n = text.lines().count();
    let is_too_long = n > N_LINES_MAX && !is_test_file(path);
    if is_too_long {
        vec![format!("{path}:{N_LINES_MAX}: {n} lines")]
    } else {
        Vec::new()
    }
}

/// Numbers of issues in comments and prose, paths of somebody's machine, talk of work sessions.
fn traces(path: &str, text: &str) -> Vec<String> {
    if path == "tests/tidy.rs" || is_made_by_tools(path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", n + 1);
        if has_machine_path(line) {
            found.push(format!("{at}: a path of one machine: {}", line.trim()));
        }
        if prose_of(path, line).is_some_and(has_issue_number) {
            found.push(format!("{at}: an issue number: {}", line.trim()));
        }
        let lower = line.to_lowercase();
        if ["work session", "coding session", "this session's brief"]
            .iter()
            .any(|words| lower.contains(words))
        {
            found.push(format!("{at}: talk of work: {}", line.trim()));
        }
    }
    found
}

fn is_made_by_tools(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".lock") || name == "package-lock.json" || path.starts_with("proptest-regressions/")
}

fn has_machine_path(line: &str) -> bool {
    ["/root", "/work", "/home/"].iter().any(|path| {
        line.match_indices(path).any(|(at, _)| {
            let begins = !line[..at]
                .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '}'));
            let next = line[at + path.len()..].chars().next();
            let ends = match *path {
                // `/home/me` and `/home/user` are nobody's.
                "/home/" => next.is_some_and(char::is_alphanumeric) && !is_nobody(&line[at + path.len()..]),
                _folder => next == Some('/'),
            };
            begins && ends
        })
    })
}

fn is_nobody(after: &str) -> bool {
    matches!(
        word(after).as_deref(),
        Some("me" | "you" | "user" | "alice" | "bob")
    )
}

/// The part of a line that is meant for people.
fn prose_of<'a>(path: &str, line: &'a str) -> Option<&'a str> {
    match path.rsplit('.').next() {
        Some("md") => Some(line),
        Some("rs" | "mjs" | "js" | "ts") => line.find("//").map(|at| &line[at..]),
        Some("toml" | "sh" | "py" | "yml" | "yaml") => line.find("# ").map(|at| &line[at..]),
        _other => None,
    }
}

/// `#12`, but neither `#[attribute]`, `#1a2b3c` nor the `#2` of an address.
fn has_issue_number(prose: &str) -> bool {
    prose.match_indices('#').any(|(at, _)| {
        let before_is_free =
            !prose[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '&' | '#'));
        let after = &prose[at + 1..];
        let n_digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let ends = !after[n_digits..].starts_with(|c: char| c.is_alphanumeric());
        before_is_free && (1..=6).contains(&n_digits) && ends
    })
}

// === Reading ===

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    gather(&root().join("src"), &mut all);
    assert!(all.len() > 10, "hardly any source was found");
    all.sort();
    all
}

fn gather(folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, all);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            all.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .arg("ls-files")
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn offences(finder: Finder) -> Vec<String> {
    sources()
        .iter()
        .flat_map(|(path, text)| finder(path, text))
        .collect()
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("_tests.rs")
}

/// `child` for `src/child/state.rs`; none for what stands above all modules.
fn module_of(path: &str) -> Option<&str> {
    let within = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let first = within.split('/').next()?;
    (!matches!(first, "lib" | "main" | "bin")).then_some(first)
}

/// The text with comments blanked: what they say is no code. Places and lines stay.
fn code_only(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| match comment_at(line) {
        Some(at) => {
            let blanks: String = line[at..]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' })
                .collect();
            format!("{}{blanks}", &line[..at])
        }
        None => line.to_owned(),
    });
    lines.collect()
}

/// Where a line's comment begins: at a `//` with an even number of quotes before it.
fn comment_at(line: &str) -> Option<usize> {
    line.match_indices("//")
        .map(|(at, _)| at)
        .find(|at| line[..*at].matches('"').count().is_multiple_of(2))
}

fn lines_with(path: &str, code: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (n, line) in code.lines().enumerate() {
        for word in words {
            let stands = line
                .match_indices(word)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if stands {
                found.push(format!("{path}:{}: {word}", n + 1));
            }
        }
    }
    found
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

// === The finders find ===

#[test]
fn upward_and_sideways_references_are_found() {
    let found = |path, text| upward_references(path, text);
    assert_eq!(
        found("src/ids.rs", "\n\nuse crate::child::Child;"),
        ["src/ids.rs:3: ids -> child"]
    );
    assert_eq!(
        found(
            "src/child/mod.rs",
            "use crate::{\n    ids::{A, B},\n    route::R, child::C,\n};"
        ),
        ["src/child/mod.rs:1: child -> route"]
    );
    assert_eq!(
        found("src/ids.rs", "fn f() -> crate::event::Exit {}"),
        ["src/ids.rs:1: ids -> event"]
    );
    assert_eq!(
        found("src/ids.rs", "use crate::Everything;"),
        ["src/ids.rs:1: ids -> Everything"]
    );
    assert!(found("src/ids.rs", "// not crate::child\n/// [`crate::child`]").is_empty());
    assert!(found("src/bin/x.rs", "use crate::app;").is_empty());
    assert!(found("src/app.rs", "use crate::{ids, child::state};").is_empty());
}

#[test]
fn prints_tasks_and_leftovers_are_found() {
    assert_eq!(
        prints("src/a.rs", "f();\nprintln!(\"x\");"),
        ["src/a.rs:2: println!"]
    );
    assert_eq!(prints("src/a.rs", "print!(\"// x\");"), ["src/a.rs:1: print!"]);
    assert!(prints("src/ctl/render.rs", "println!()").is_empty());
    assert!(prints("src/a.rs", "eprintln!(); // println!").is_empty());
    assert_eq!(
        loose_tasks("src/a.rs", "tokio::spawn(f)"),
        ["src/a.rs:1: tokio::spawn("]
    );
    assert_eq!(loose_tasks("src/a.rs", "tokio::task::spawn(f)").len(), 1);
    assert!(loose_tasks("src/tasks.rs", "tokio::spawn(f)").is_empty());
    for text in ["todo!()", "unimplemented!()", "#[ignore = \"x\"]"] {
        assert_eq!(leftovers("src/a.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn nameless_and_long_files_are_found() {
    assert_eq!(nameless("src/a.rs", "use x;\n//! late").len(), 1);
    assert!(nameless("src/a.rs", "//! What it is for.").is_empty());
    let long = "x\n".repeat(N_LINES_MAX + 1);
    assert_eq!(too_long("src/a.rs", &long).len(), 1);
    assert!(too_long("src/a_tests.rs", &long).is_empty());
    assert!(too_long("src/a.rs", &"x\n".repeat(N_LINES_MAX)).is_empty());
}

#[test]
fn traces_of_machines_issues_and_work_are_found() {
    for (path, text) in [
        ("a.md", "see #12."),
        ("a.rs", "f(); // fixes #3"),
        ("a.sh", "x # as in (#4)"),
        ("a.txt", "in /root/x"),
        ("a.txt", concat!("cd '/wo", "rk/main'")),
        ("a.txt", "/home/claire/x"),
        ("a.md", "In this work session we"),
    ] {
        assert_eq!(traces(path, text).len(), 1, "{text}");
    }
    for (path, text) in [
        ("a.md", "# 1 Title, #1a2b3c, x#2, &#39;"),
        ("a.rs", "let x = \"#12\";"),
        ("a.rs", "#[cfg(test)]"),
        (
            "a.txt",
            "src/root/x, $HOME/wor/x, https://x/root/y, /rooters, /home/me/x",
        ),
    ] {
        assert!(traces(path, text).is_empty(), "{:?}", traces(path, text));
    }
}
