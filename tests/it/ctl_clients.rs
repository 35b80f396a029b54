//! The settings of other programs: servers taken from them, our entry put into them, and what is printed for them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::mcpctl::Project;

/// A home folder with settings of several programs, and a secret in one of them.
fn home_with_settings(project: &Project) {
    let write = |file: &str, text: &str| {
        let file = project.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write(
        ".config/Claude/claude_desktop_config.json",
        r#"{"mcpServers": {"git": {"command": "uvx", "args": ["mcp-server-git"]},
            "hub": {"command": "npx", "env": {"HUB_TOKEN": "s3cret value $1", "TZ": "UTC"}}}}"#,
    );
    write(
        ".config/zed/settings.json",
        "// mine\n{ 'theme': 'x', context_servers: { git: { command: 'uvx', args: ['mcp-server-git'] },\n far: { url: 'https://x/mcp?k=s3cret' } }, }\n",
    );
    write(
        ".codex/config.toml",
        "[mcp_servers.\"my db\"]\ncommand = \"db\"\nenv_vars = [\"DB_URL\"]\n",
    );
    write(".gemini/settings.json", "{ not json");
}

#[test]
fn the_settings_of_all_programs_are_found_and_a_dry_run_changes_nothing() {
    let project = Project::new();
    home_with_settings(&project);
    std::fs::remove_dir(project.path().join("data")).unwrap();
    let dry = project.run(&["import", "--dry-run"]);
    dry.said(
        0,
        &[
            "add     uvx mcp-server-git",
            "the same server stands above already",
            "it is a remote server (https://x/mcp)",
            "called `my db` in the file",
            "of Zed (",
            "+[servers.hub.env]",
            "+HUB_TOKEN = \"${HUB_TOKEN}\"",
            "+TZ = \"***\"",
            "+HUB_TOKEN=***",
            ".gemini/settings.json is left out: it cannot be read as JSON",
            "Nothing was changed.",
        ],
    );
    assert!(!format!("{dry:?}").contains("s3cret"));
    assert!(!project.path().join(".env").exists() && !project.path().join("data").exists());
}

#[test]
fn secrets_of_imported_servers_go_where_they_are_wanted() {
    let project = Project::new();
    home_with_settings(&project);
    project.write(".env", "A=b");
    let ran = project.run(&["import", "--yes"]);
    ran.said(0, &["3 saved", "Secrets are in ", "HUB_TOKEN"]);
    assert!(!format!("{ran:?}").contains("s3cret"));
    let dotenv = project.path().join(".env");
    let text = std::fs::read_to_string(&dotenv).unwrap();
    assert_eq!(text, "A=b\nHUB_TOKEN=\"s3cret value \\$1\"\n");
    let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dotenv), 0o600);
    // The same again finds everything as it is.
    let again = project.json(&["import", "claude-desktop", "--yes"]);
    assert_eq!((&again["done"], &again["secrets"]), (&json!(false), &json!([])));

    let project = Project::new();
    home_with_settings(&project);
    project
        .run(&["import", "Claude Desktop", "--yes", "--secrets", "files"])
        .said(0, &["2 saved"]);
    let file = project.path().join("data/secrets/HUB_TOKEN");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "s3cret value $1");
    assert_eq!(mode(&file), 0o600);
    assert!(!project.path().join(".env").exists());
}

#[test]
fn a_server_added_by_hand_is_not_lost_to_an_import() {
    let project = Project::new();
    home_with_settings(&project);
    project.run(&["add", "git", "--", "mine"]).said(0, &[]);
    project
        .run(&["import", "claude-desktop", "--yes"])
        .said(0, &["1 saved", "was added with `mcpctl add`, and stays"]);
    assert_eq!(project.json(&["list"])[0]["command"], json!(["mine"]));
    project
        .run(&["import", "claude-desktop", "--yes", "--replace"])
        .said(0, &["1 saved", "was: mine"]);
    assert_eq!(
        project.json(&["list"])[0]["command"],
        json!(["uvx", "mcp-server-git"])
    );
    project
        .run(&["import", "cursor"])
        .said(1, &["no settings of Cursor", ".cursor/mcp.json"]);
}

fn settings(project: &Project, file: &str) -> PathBuf {
    project.path().join(file)
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// Backups beside a file.
fn backups(file: &Path) -> Vec<PathBuf> {
    let begin = format!(
        "{}.before-mcp-wrapper-",
        file.file_name().unwrap().to_string_lossy()
    );
    let all = std::fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&begin))
        .collect()
}

#[test]
fn our_entry_is_written_where_a_client_looks_and_taken_out_again_to_the_byte() {
    let project = Project::new();
    home_with_settings(&project);
    for (client, file, servers) in [
        (
            "claude-desktop",
            ".config/Claude/claude_desktop_config.json",
            "mcpServers",
        ),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("vscode", ".config/Code/User/mcp.json", "servers"),
        ("zed", ".config/zed/settings.json", "context_servers"),
        ("codex", ".codex/config.toml", "mcp_servers"),
    ] {
        let file = settings(&project, file);
        let before = file.exists().then(|| text(&file));
        let dry = project.run(&["install", client, "--dry-run"]);
        dry.said(0, &["+++ ", "mcp-wrapper", "Nothing was changed."]);
        assert_eq!(file.exists().then(|| text(&file)), before, "{client}");
        project
            .run(&["install", client])
            .said(1, &["nothing was changed; give `--yes`"]);
        assert_eq!(file.exists().then(|| text(&file)), before, "{client}");

        let done = project.json(&["install", client, "--yes"]);
        assert_eq!((&done["done"], &done["client"]), (&json!(true), &json!(client)));
        let after = text(&file);
        assert!(after.contains(servers) && after.contains("--dir"), "{after}");
        assert!(after.contains(project.path().to_str().unwrap()), "{after}");
        assert!(
            after.contains(&format!("{}\"", env!("CARGO_BIN_EXE_mcp-wrapper"))),
            "{after}"
        );
        // What was there, and what was done to it.
        let kept = backups(&file);
        assert_eq!(kept.len(), if before.is_some() { 2 } else { 1 }, "{kept:?}");
        for kept in kept {
            let mode = std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);
        }
        project
            .run(&["install", client, "--yes"])
            .said(0, &["It is there already"]);

        project
            .run(&["install", client, "--undo", "--yes"])
            .said(0, &["as it was"]);
        assert_eq!(file.exists().then(|| text(&file)), before, "{client}");
        assert!(backups(&file).is_empty(), "{client}");
        project
            .run(&["install", client, "--undo", "--yes"])
            .said(1, &["nothing to undo"]);
    }
}

#[test]
fn what_was_imported_is_replaced_by_our_entry_and_comes_back() {
    let project = Project::new();
    home_with_settings(&project);
    let file = settings(&project, ".config/Claude/claude_desktop_config.json");
    project
        .run(&["import", "claude-desktop", "--only", "hub", "--yes"])
        .said(0, &["1 saved"]);
    let ran = project.run(&["install", "claude-desktop", "--replace-imported", "--yes"]);
    ran.said(0, &["still starts by itself: git"]);
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
    let names = |file: &Path| -> Vec<String> {
        let value: Value = serde_json::from_str(&text(file)).unwrap();
        value["mcpServers"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(&file), ["git", "mcp-wrapper"]);
    // What is written there is no server of its own.
    project
        .run(&["import", "claude-desktop", "--dry-run"])
        .said(0, &["it is mcp-wrapper itself"]);

    // The client has written the file since: only our part of it is undone.
    let mut value: Value = serde_json::from_str(&text(&file)).unwrap();
    value["theme"] = json!("dark");
    std::fs::write(&file, value.to_string()).unwrap();
    project
        .run(&["install", "claude-desktop", "--undo", "--yes"])
        .said(0, &["without our entry"]);
    assert_eq!(names(&file), ["git", "hub"]);
    let value: Value = serde_json::from_str(&text(&file)).unwrap();
    assert_eq!(value["mcpServers"]["hub"]["env"]["HUB_TOKEN"], "s3cret value $1");
    assert_eq!(value["theme"], "dark");
}

/// The names of the servers in a file of Cursor.
fn servers(file: &Path) -> Vec<String> {
    let value: Value = serde_json::from_str(&text(file)).unwrap();
    value["mcpServers"].as_object().unwrap().keys().cloned().collect()
}

/// What a client does with its file: all the same, and not one byte in its place.
fn rewritten(file: &Path) {
    let value: Value = serde_json::from_str(&text(file)).unwrap();
    std::fs::write(file, serde_json::to_string_pretty(&value).unwrap()).unwrap();
}

const CURSOR: &str = ".cursor/mcp.json";

/// Two servers of Cursor, one of them imported and replaced by our entry; then our entry of another folder.
fn installed_twice(project: &Project) -> (PathBuf, String) {
    let file = settings(project, CURSOR);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let before = "{ \"mcpServers\": {\n  \"git\": {\"command\": \"uvx\", \"args\": [\"mcp-server-git\"]},\n  \"far\": {\"url\": \"https://x/mcp\"} } }\n";
    std::fs::write(&file, before).unwrap();
    project.run(&["import", "cursor", "--yes"]).said(0, &["1 saved"]);
    let ran = project.run(&["install", "cursor", "--replace-imported", "--yes"]);
    ran.said(0, &["`mcpctl install cursor --undo` takes it out"]);
    // What cannot be imported is not offered.
    assert!(!ran.stdout.contains("still starts by itself"), "{ran:?}");
    assert_eq!(servers(&file), ["far", "mcp-wrapper"]);
    std::fs::create_dir(project.path().join("other")).unwrap();
    project.write("other/servers.toml", "");
    project
        .run(&["--dir", "other", "install", "cursor", "--yes"])
        .said(0, &["Written"]);
    (file, before.to_owned())
}

#[test]
fn installs_are_undone_one_after_the_other() {
    let project = Project::new();
    let (file, before) = installed_twice(&project);
    let undo = ["install", "cursor", "--undo", "--yes"];
    let told = "An earlier install can be undone, too: `mcpctl install cursor --undo`";
    let first = project.run(&undo);
    first.said(0, &["as it was before the last install, with our entry", told]);
    assert_eq!(servers(&file), ["far", "mcp-wrapper"]);
    assert!(!text(&file).contains("/other"), "{}", text(&file));
    let second = project.run(&undo);
    second.said(0, &["is as it was before the last install."]);
    assert!(!second.stdout.contains("An earlier install"), "{second:?}");
    assert_eq!(text(&file), before);
    assert!(backups(&file).is_empty());
}

#[test]
fn what_was_taken_out_comes_back_after_two_installs_and_a_client_that_wrote_its_file() {
    let project = Project::new();
    let (file, _) = installed_twice(&project);
    rewritten(&file);
    let undo = ["install", "cursor", "--undo", "--yes"];
    project.run(&undo).said(
        0,
        &[
            "has our entry as it was before the last install",
            "An earlier install can be undone, too",
        ],
    );
    assert!(!text(&file).contains("/other"), "{}", text(&file));
    rewritten(&file);
    let done = project.json(&undo);
    assert_eq!(
        (&done["put_back"], &done["has_earlier"]),
        (&json!(["git"]), &json!(false))
    );
    assert_eq!(servers(&file), ["far", "git"]);
    let value: Value = serde_json::from_str(&text(&file)).unwrap();
    assert_eq!(
        value["mcpServers"]["git"],
        json!({"command": "uvx", "args": ["mcp-server-git"]})
    );
    project.run(&undo).said(1, &["nothing to undo"]);
    assert!(backups(&file).is_empty());
}

#[test]
fn what_a_person_deleted_stays_deleted_and_what_we_took_out_comes_back_without_our_entry() {
    let project = Project::new();
    let file = settings(&project, "m.json");
    project.write(
        "m.json",
        r#"{"mcpServers": {"far": {"url": "https://x"}, "own": {"command": "o"}}}"#,
    );
    let ran = project.run(&["install", "cursor", "--file", "m.json", "--yes"]);
    ran.said(
        0,
        &[
            "`mcpctl install cursor --undo --file m.json` takes it out",
            "still starts by itself: own. `mcpctl import m.json`",
        ],
    );
    let mut value: Value = serde_json::from_str(&text(&file)).unwrap();
    value["mcpServers"].as_object_mut().unwrap().remove("far");
    std::fs::write(&file, value.to_string()).unwrap();
    let undo = ["install", "cursor", "--file", "m.json", "--undo", "--yes"];
    project.run(&undo).said(0, &["without our entry"]);
    assert_eq!(servers(&file), ["own"]);

    project.run(&["import", "m.json", "--yes"]).said(0, &["1 saved"]);
    let replace = [
        "install",
        "cursor",
        "--file",
        "m.json",
        "--replace-imported",
        "--yes",
    ];
    project.run(&replace).said(0, &["Written"]);
    // Our entry is taken out by hand.
    std::fs::write(&file, r#"{"mcpServers": {}}"#).unwrap();
    project
        .run(&undo)
        .said(0, &["has again what was taken out", "Put back: own."]);
    assert_eq!(servers(&file), ["own"]);
}

#[test]
fn what_was_imported_in_part_stays_and_is_named() {
    let project = Project::new();
    let file = settings(&project, "m.json");
    let before = r#"{"mcpServers": {"whole": {"command": "w"}, "part": {"command": "p", "envFile": "x.env"},
        "asks": {"command": "a", "args": ["${input:key-a}"]}}}"#;
    project.write("m.json", before);
    project.run(&["import", "m.json", "--yes"]).said(0, &["3 saved"]);
    let replace = ["install", "cursor", "--file", "m.json", "--replace-imported"];
    // Before the question.
    project.run(&replace).said(
        1,
        &["`part` stays there: ", "envFile", "`asks` stays there: ", "KEY_A"],
    );
    assert_eq!(text(&file), before);
    let done = project.json(&[&replace[..], &["--yes"]].concat());
    assert_eq!(done["removed"], json!(["whole"]));
    assert_eq!(servers(&file), ["asks", "mcp-wrapper", "part"]);
    // With its variable set, nothing of it is lost.
    project.write(".env", "KEY_A=k\n");
    project.json(&[&replace[..], &["--yes"]].concat());
    assert_eq!(servers(&file), ["mcp-wrapper", "part"]);
}

#[test]
fn a_settings_file_is_written_where_its_link_leads_and_what_cannot_be_edited_is_left() {
    let project = Project::new();
    let real = settings(&project, "dotfiles.json");
    std::fs::write(&real, "{\n  // mine\n  \"mcpServers\": {}\n}\n").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = settings(&project, "mcp.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    project
        .run(&["install", "cursor", "--file", "mcp.json", "--yes"])
        .said(0, &["Written: mcp.json"]);
    assert!(std::fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    assert!(text(&real).contains("// mine") && text(&real).contains("mcp-wrapper"));
    assert_eq!(
        std::fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o644
    );

    for bad in ["{ not json", "[]", "{\"mcpServers\": 1}"] {
        project.write("bad.json", bad);
        project
            .run(&["install", "cursor", "--file", "bad.json", "--yes"])
            .said(1, &["bad.json is left as it is"]);
        assert_eq!(text(&settings(&project, "bad.json")), bad);
    }
    project
        .run(&["install", "emacs", "--yes"])
        .said(2, &["claude-desktop, claude-code"]);
}

#[test]
fn declared_servers_are_exported_without_their_secrets() {
    let project = Project::new();
    project.write(
        "servers.toml",
        "[servers.a]\ncommand = \"x\"\nargs = [\"b\"]\ncall_timeout = \"9s\"\nenv = { K = \"${SET}\", F = \"${file:/none}\" }\n",
    );
    project.write(".env", "SET=from-dotenv\n");
    project
        .run(&[
            "add",
            "git",
            "--env",
            "TOKEN=s3cret",
            "--",
            "uvx",
            "mcp-server-git",
        ])
        .said(0, &[]);
    let export = project.run(&["export"]);
    export.said(0, &["git.TOKEN", "--with-secrets"]);
    assert_eq!(
        export.json(),
        json!({"mcpServers": {
            "a": {"command": "x", "args": ["b"], "env": {"K": "${SET}", "F": "${file:/none}"}},
            "git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"TOKEN": "${TOKEN}"}}
        }})
    );
    assert!(!format!("{export:?}").contains("s3cret"));
    let with = project.run(&["export", "--with-secrets"]).json();
    assert_eq!(
        with["mcpServers"]["a"]["env"],
        json!({"K": "from-dotenv", "F": "${file:/none}"})
    );
    assert_eq!(with["mcpServers"]["git"]["env"], json!({"TOKEN": "s3cret"}));
    let toml = project.run(&["export", "a", "--format", "toml"]);
    toml.said(0, &["[servers.a]", "call_timeout = \"9s\""]);
    // What was exported is a servers file.
    let other = Project::new();
    other.write("servers.toml", &toml.stdout);
    other.write(".env", "SET=x\n");
    assert_eq!(other.json(&["list"])[0]["name"], "a");
    project
        .run(&["export", "nobody"])
        .said(1, &["no server `nobody`"]);
}

#[test]
fn the_schema_is_printed_as_it_is_kept_for_editors() {
    let project = Project::new();
    let kept: Value = serde_json::from_str(include_str!("../../docs/servers.schema.json")).unwrap();
    assert_eq!(project.run(&["schema"]).json(), kept);
}
