//! Settings from maps and scratch folders.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(project: &Path, variables: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    let map: BTreeMap<_, _> = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Settings::load(project, &Environment::new(move |name| map.get(name).cloned()))
}

#[test]
fn a_project_folder_keeps_everything_in_itself() {
    let project = folder_with(&[("servers.toml", "")]);
    let settings = load(project.path(), &[("HOME", "/home/me")]).unwrap();
    assert_eq!(settings.data_dir, project.path().join("data"));
    assert_eq!(settings.log_dir, project.path().join("logs"));
    assert_eq!(settings.servers_file, project.path().join("servers.toml"));
    assert_eq!(
        (settings.host.to_string().as_str(), settings.port),
        ("127.0.0.1", 8999)
    );
    assert_eq!(settings.log_level, Level::INFO);
    assert!(settings.auth_token.is_none());
    assert!(settings.allowed_hosts.is_empty());
}

#[test]
fn elsewhere_the_folders_are_those_of_the_person() {
    let elsewhere = folder_with(&[]);
    let settings = load(elsewhere.path(), &[("HOME", "/home/me"), ("MCP_PORT", "0")]).unwrap();
    assert_eq!(
        settings.data_dir,
        Path::new("/home/me/.local/state/mcp-wrapper/data")
    );
    assert_eq!(
        settings.log_dir,
        Path::new("/home/me/.local/state/mcp-wrapper/logs")
    );
    assert_eq!(
        settings.servers_file,
        Path::new("/home/me/.config/mcp-wrapper/servers.toml")
    );
    let xdg = [
        ("XDG_STATE_HOME", "/state"),
        ("XDG_CONFIG_HOME", "/config"),
        ("HOME", "/home/me"),
    ];
    let settings = load(elsewhere.path(), &xdg).unwrap();
    assert_eq!(settings.data_dir, Path::new("/state/mcp-wrapper/data"));
    assert_eq!(
        settings.servers_file,
        Path::new("/config/mcp-wrapper/servers.toml")
    );
    assert_eq!(load(elsewhere.path(), &[]).unwrap_err().0.len(), 3);
}

#[test]
fn one_named_folder_makes_it_a_project() {
    let elsewhere = folder_with(&[]);
    let settings = load(
        elsewhere.path(),
        &[("MCP_DATA_DIR", "mine"), ("HOME", "/home/me")],
    )
    .unwrap();
    assert_eq!(settings.data_dir, elsewhere.path().join("mine"));
    assert_eq!(settings.log_dir, elsewhere.path().join("logs"));
    assert_eq!(settings.servers_file, elsewhere.path().join("servers.toml"));
}

#[test]
fn the_dotenv_beside_the_servers_file_is_read_and_the_real_environment_wins() {
    let project = folder_with(&[
        ("servers.toml", ""),
        (".env", "MCP_PORT=1\nLOG_LEVEL=warn\nA=b\n"),
    ]);
    let settings = load(project.path(), &[("MCP_PORT", "2")]).unwrap();
    assert_eq!((settings.port, settings.log_level), (2, Level::WARN));
    assert_eq!(settings.environment.lookup("A").as_deref(), Some("b"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let project = folder_with(&[("servers.toml", ""), (".env", "oops\n")]);
    let told = load(
        project.path(),
        &[
            ("MCP_HOST", "here"),
            ("MCP_PORT", "70000"),
            ("MCP_AUTH_TOKEN", "short-secret"),
            ("LOG_LEVEL", "loud"),
            ("DEBUG_MODE", "maybe"),
            ("MCP_SERVERS_FILE", "servers.tml"),
        ],
    )
    .unwrap_err()
    .to_string();
    assert_eq!(told.lines().count(), 7, "{told}");
    for part in [
        ".env:1: ",
        "MCP_HOST: ",
        "MCP_PORT: ",
        "MCP_AUTH_TOKEN: ",
        "LOG_LEVEL: ",
        "DEBUG_MODE: ",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(told.contains("there is no file"), "{told}");
    assert!(!told.contains("short-secret"), "{told}");
}

#[test]
fn beyond_loopback_a_token_or_a_key_is_needed() {
    let project = folder_with(&[("servers.toml", "")]);
    for host in ["0.0.0.0", "::", "192.168.0.7"] {
        let bare = load(project.path(), &[("MCP_HOST", host)]).unwrap();
        let told = bare.exposure(false).unwrap();
        assert!(
            told.contains("set MCP_AUTH_TOKEN") && told.contains("mcpctl key create"),
            "{told}"
        );
        assert_eq!(bare.exposure(true), None);
        let open = [("MCP_HOST", host), ("MCP_AUTH_TOKEN", "0123456789abcdef")];
        let settings = load(project.path(), &open).unwrap();
        assert_eq!(settings.exposure(false), None);
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    }
    for host in ["127.0.0.1", "::1", "localhost", ""] {
        let settings = load(project.path(), &[("MCP_HOST", host)]).unwrap();
        assert_eq!(settings.exposure(false), None);
    }
}

#[test]
fn who_is_asked_for_a_key_and_how_much_a_client_may_do_is_read() {
    let project = folder_with(&[("servers.toml", "")]);
    let said = [
        ("MCP_REQUIRE_KEYS", "true"),
        ("MCP_KEY_EXEMPT", "10.0.0.0/8, ::1"),
        ("MCP_RATE_PER_ADDRESS", "60/min"),
        ("MCP_CALLS_PER_CLIENT", "3"),
    ];
    let settings = load(project.path(), &said).unwrap();
    assert!(settings.require_keys);
    assert!(settings.key_exempt[0].contains("10.1.2.3".parse().unwrap()));
    assert_eq!(settings.key_exempt.len(), 2);
    assert_eq!(settings.limits.requests.unwrap().n, 60);
    assert_eq!(
        (settings.limits.n_calls, settings.limits.n_connections),
        (Some(3), None)
    );
    for (name, bad) in [
        ("MCP_KEY_EXEMPT", "10.0.0.0/8, here"),
        ("MCP_RATE_PER_ADDRESS", "fast"),
        ("MCP_STREAMS_PER_ADDRESS", "0/s"),
        ("MCP_CONNECTIONS_PER_ADDRESS", "0"),
        ("MCP_CALLS_PER_CLIENT", "-1"),
    ] {
        let told = load(project.path(), &[(name, bad)]).unwrap_err().to_string();
        assert!(told.contains(name), "{told}");
    }
}

#[test]
fn debug_mode_never_says_less_and_lists_are_split_at_commas() {
    let project = folder_with(&[("servers.toml", "")]);
    let said = [
        ("DEBUG_MODE", "true"),
        ("MCP_ALLOWED_HOSTS", "a.example, b.example:80,"),
    ];
    let settings = load(project.path(), &said).unwrap();
    assert_eq!(settings.log_level, Level::DEBUG);
    assert_eq!(settings.allowed_hosts, ["a.example", "b.example:80"]);
    let trace = load(project.path(), &[("DEBUG_MODE", "true"), ("LOG_LEVEL", "trace")]).unwrap();
    assert_eq!(trace.log_level, Level::TRACE);
}

#[test]
fn the_shipped_env_example_is_good_and_names_every_variable() {
    let text = include_str!("../../../.env.example");
    let project = folder_with(&[("servers.toml", ""), (".env", text)]);
    load(project.path(), &[]).unwrap();
    for name in [
        "MCP_HOST",
        "MCP_PORT",
        "MCP_DATA_DIR",
        "MCP_LOG_DIR",
        "MCP_SERVERS_FILE",
        "MCP_AUTH_TOKEN",
        "MCP_REQUIRE_KEYS",
        "MCP_KEY_EXEMPT",
        "MCP_RATE_PER_ADDRESS",
        "MCP_STREAMS_PER_ADDRESS",
        "MCP_CONNECTIONS_PER_ADDRESS",
        "MCP_CALLS_PER_CLIENT",
        "MCP_ALLOWED_HOSTS",
        "MCP_ALLOWED_ORIGINS",
        "LOG_LEVEL",
        "DEBUG_MODE",
    ] {
        assert!(text.contains(&format!("{name}=")), "{name}");
    }
}

#[test]
fn a_slip_in_the_name_of_a_variable_is_told_and_a_servers_own_variable_is_not() {
    let project = folder_with(&[
        (
            "servers.toml",
            "[servers.a]\ncommand = \"x\"\nenv = { K = \"${MCP_HOSTS}\" }\n",
        ),
        (
            ".env",
            "MCP_PROT=1\nMCP_HOSTS=x\nMCP_GITHUB_KEY=y\nMCP_HOST=127.0.0.1\nLOG_LEVLE=debug\n",
        ),
    ]);
    let told = load(project.path(), &[]).unwrap().warnings();
    let expected = format!(
        "{}: MCP_PROT is no variable of mcp-wrapper; did you mean MCP_PORT?",
        project.path().join(".env").display()
    );
    assert_eq!(told, [expected]);
}
