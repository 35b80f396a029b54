//! `mcpctl` where no daemon runs: definitions can be changed, the rest says what is missing.

use mcp_wrapper::event::{Cause, Exit, What};
use serde_json::json;

use crate::mcpctl::Project;

#[test]
fn a_server_is_added_listed_disabled_enabled_and_removed_without_a_daemon() {
    let project = Project::new();
    let add = [
        "add",
        "git",
        "--env",
        "TOKEN=s3cret",
        "--",
        "uvx",
        "mcp-server-git",
        "--json",
    ];
    project.run(&add).said(0, &["git: saved", "no daemon is running"]);
    project
        .run(&["list"])
        .said(0, &["NAME", "git", "stopped", "cli", "uvx mcp-server-git --json"]);
    project.run(&["disable", "git"]).said(0, &["git: disabled"]);
    assert_eq!(project.json(&["list"])[0]["state"], "disabled");
    project.run(&["enable", "git"]).said(0, &["git: enabled"]);
    assert_eq!(project.json(&["list"])[0]["enabled"], true);
    project.run(&["remove", "git"]).said(0, &["git: removed"]);
    assert_eq!(project.json(&["list"]), json!([]));
}

#[test]
fn values_of_variables_are_never_printed() {
    let project = Project::new();
    let add = project.run(&["--json", "add", "git", "--env", "TOKEN=s3cret", "--", "uvx", "x"]);
    add.said(0, &[]);
    let list = project.json(&["list"]);
    assert_eq!(list[0]["env"], json!(["TOKEN"]));
    let all = format!("{add:?}{list}{:?}", project.run(&["list"]));
    assert!(!all.contains("s3cret"), "{all}");
}

#[test]
fn a_taken_name_is_refused_unless_it_shall_be_replaced() {
    let project = Project::new();
    project.run(&["add", "git", "--", "one"]).said(0, &[]);
    project
        .run(&["add", "git", "--", "two"])
        .said(1, &["already", "--replace"]);
    assert_eq!(project.json(&["list"])[0]["command"], json!(["one"]));
    let replaced = project.json(&["add", "git", "--replace", "--", "two"]);
    assert_eq!(replaced["change"], "replaced");
    assert_eq!(project.json(&["list"])[0]["command"], json!(["two"]));
}

#[test]
fn what_is_not_there_is_told_and_the_others_are_done() {
    let project = Project::new();
    project.run(&["add", "git", "--", "one"]).said(0, &[]);
    project
        .run(&["remove", "nobody", "git"])
        .said(1, &["no server `nobody`", "git: removed"]);
    project
        .run(&["enable", "nobody"])
        .said(1, &["no server `nobody`"]);
    let told = project.run(&["--json", "disable", "nobody"]);
    told.said(1, &[]);
    assert_eq!(told.json()["not_there"], json!(["nobody"]));
}

#[test]
fn a_wrong_command_line_is_code_2_and_says_what_would_be_right() {
    let project = Project::new();
    project
        .run(&["add", "my.server", "--", "x"])
        .said(2, &["my-server"]);
    project
        .run(&["add", "git", "--env", "TOKEN", "--", "x"])
        .said(2, &["K=V"]);
    project.run(&["add", "git"]).said(2, &["COMMAND"]);
    project.run(&["call", "git__log", "[]"]).said(2, &["JSON object"]);
    project.run(&["nonsense"]).said(2, &[]);
    project.run(&["--help"]).said(0, &["Exit codes"]);
}

#[test]
fn verbs_that_need_a_daemon_say_how_to_start_one() {
    let project = Project::new();
    let verbs: [&[&str]; 7] = [
        &["start", "git"],
        &["stop", "git"],
        &["restart", "git"],
        &["status"],
        &["tools"],
        &["call", "git__log"],
        &["logs", "git"],
    ];
    for verb in verbs {
        let ran = project.run(verb);
        ran.said(3, &["no daemon is running", "mcp-wrapper"]);
        assert_eq!(ran.stdout, "", "{verb:?}");
    }
    assert!(project.run(&["--json", "status"]).json()["error"].is_string());
}

#[test]
fn why_and_events_make_do_with_the_journal() {
    let project = Project::new();
    project.run(&["add", "git", "--", "uvx", "x"]).said(0, &[]);
    project
        .run(&["why", "git"])
        .said(0, &["git: never started", "uvx x", "from the journal"]);
    project.run(&["why", "nobody"]).said(1, &["no server `nobody`"]);
    project.run(&["events"]).said(0, &["Nothing has happened yet"]);
    assert_eq!(project.json(&["events"]), json!([]));
}

#[test]
fn import_shows_first_and_does_it_only_when_told() {
    let project = Project::new();
    let file = format!(
        "{}/tests/data/import/claude_desktop.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let shown = [
        "add",
        "my-github",
        "called `my github`",
        "skip",
        "mcp-wrapper itself",
        "nothing was changed",
    ];
    project.run(&["import", &file]).said(1, &shown);
    assert_eq!(project.json(&["list"]), json!([]));

    project.run(&["import", &file, "--yes"]).said(0, &["2 saved"]);
    let list = project.json(&["list"]);
    assert_eq!(list[0]["name"], "filesystem");
    assert_eq!(list[0]["origin"], "import");
    assert_eq!(list[1]["env"], json!(["GITHUB_PERSONAL_ACCESS_TOKEN"]));

    let again = project.json(&["import", &file, "--yes"]);
    assert_eq!(
        (&again["done"], &again["steps"][0]["action"]),
        (&json!(false), &json!("unchanged"))
    );
    assert!(!again.to_string().contains("not-a-real-token"));
}

#[test]
fn import_takes_only_what_is_wanted() {
    let project = Project::new();
    let file = format!("{}/tests/data/import/cursor.json", env!("CARGO_MANIFEST_DIR"));
    project
        .run(&["import", &file, "--only", "nobody"])
        .said(2, &["no server `nobody`", "off, web"]);
    project
        .run(&["import", &file, "--only", "off", "--yes"])
        .said(0, &["1 saved"]);
    let list = project.json(&["list"]);
    assert_eq!(
        (list[0]["name"].as_str(), list[0]["state"].as_str()),
        (Some("off"), Some("disabled"))
    );
    assert_eq!(list[1], serde_json::Value::Null);
}

#[test]
fn files_that_cannot_be_imported_say_why() {
    let project = Project::new();
    project.write("theme.json", "{\"theme\": 1}");
    project.run(&["import", "theme.json"]).said(1, &["mcpServers"]);
    project
        .run(&["import", "absent.json"])
        .said(1, &["cannot be read"]);
}

#[test]
fn another_project_is_reached_by_its_folder() {
    let (here, there) = (Project::new(), Project::new());
    let folder = there.path().to_str().expect("a scratch folder has an UTF-8 name");
    here.run(&["--dir", folder, "add", "git", "--", "x"]).said(0, &[]);
    assert_eq!(here.json(&["list"]), json!([]));
    assert_eq!(there.json(&["list"])[0]["name"], "git");
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish"] {
        project
            .run(&["completions", shell])
            .said(0, &["mcpctl", "restart"]);
    }
}

#[test]
fn a_reader_who_has_read_enough_is_no_failure() {
    let project = Project::new();
    let mut child = project
        .mcpctl(&["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("mcpctl starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("mcpctl ends");
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn why_tells_from_the_journal_how_the_last_process_ended_and_what_to_try() {
    let project = Project::new();
    project.run(&["add", "git", "--", "uvx", "x"]).said(0, &[]);
    let cause = Cause::ExitedInHandshake { exit: Exit::Code(1) };
    let stderr = vec!["ModuleNotFoundError: No module named 'mcp.server'".to_owned()];
    project.happened(
        "git",
        vec![What::Spawned { pid: 7 }, What::Gone { cause, stderr }],
    );
    let shown = ["exit code 1", "    ModuleNotFoundError", "What to try:", "mcp<2"];
    project.run(&["why", "git"]).said(0, &shown);
    project
        .run(&["events", "git"])
        .said(0, &["started as process 7", "from the journal"]);
    assert_eq!(project.json(&["why", "git"])["events"][0]["pid"], 7);
}

#[test]
fn what_servers_toml_declares_wins_and_can_only_be_disabled_from_here() {
    let project = Project::new();
    project.write("servers.toml", "[servers.git]\ncommand = \"from-file\"\n");
    project
        .run(&["remove", "git"])
        .said(1, &["declared in servers.toml", "mcpctl disable git"]);
    project
        .run(&["add", "git", "--", "mine"])
        .said(0, &["the file wins"]);
    let list = project.json(&["list"]);
    assert_eq!(
        (&list[0]["command"], &list[0]["origin"]),
        (&json!(["from-file"]), &json!("file"))
    );
    assert_eq!(
        (&list[1]["command"], &list[1]["state"]),
        (&json!(["mine"]), &json!("shadowed"))
    );
    project
        .run(&["remove", "git"])
        .said(0, &["git: removed", "servers.toml still declares `git`"]);
    project.run(&["disable", "git"]).said(0, &["git: disabled"]);
    assert_eq!(project.json(&["list"])[0]["state"], "disabled");
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let project = Project::new();
    let names: Vec<String> = (0..12).map(|n| format!("server-{n}")).collect();
    let adding: Vec<_> = names
        .iter()
        .map(|name| {
            project
                .mcpctl(&["add", name, "--", "x"])
                .spawn()
                .expect("mcpctl starts")
        })
        .collect();
    for mut child in adding {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(
        project.json(&["list"]).as_array().map(Vec::len),
        Some(names.len())
    );
}

#[test]
fn a_faulty_servers_file_is_told_and_hides_nothing() {
    let project = Project::new();
    project.write("servers.toml", "[servers.git]\ncommand = \"from-file\"\n");
    project.run(&["list"]).said(0, &["from-file"]);
    project.write("servers.toml", "[servers.git]\ncomand = \"from-file\"\n");
    project
        .run(&["list"])
        .said(0, &["from-file", "servers.toml has faults", "servers.toml:2"]);
}
