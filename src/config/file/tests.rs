//! `servers.toml`, good and bad, with the lines that are told.

use std::time::Duration;

use super::*;
use crate::config::raw::TimeSpan;

fn env() -> Environment {
    Environment::new(|name| (name == "HOME").then(|| "/home/me".to_owned()))
}

fn parse(text: &str) -> Result<ServersFile, ConfigErrors> {
    parse_servers(text, Path::new("servers.toml"), &env())
}

fn told(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn servers_keep_the_order_of_the_file_and_stay_unexpanded() {
    let read = parse(
        "[defaults]\ncall_timeout = '5s'\n[servers.zoo]\ncommand = 'a'\nargs = ['${HOME}/x']\n\
         [servers.ant]\ncommand = 'b'\nrestart = 'on_failure'\ntype = 'stdio'\n",
    )
    .unwrap();
    let names: Vec<_> = read.servers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["zoo", "ant"]);
    assert_eq!(
        read.servers[0].1.args.as_deref(),
        Some(&["${HOME}/x".to_owned()][..])
    );
    assert_eq!(read.defaults.call_timeout, Some(TimeSpan(Duration::from_secs(5))));
}

#[test]
fn three_faults_are_three_lines() {
    let lines = told(
        "[servers.git]\ncomand = 'uvx'\ncommand = 'uvx'\ncall_timeout = 10\n\n\
         [servers.two]\ncommand = 'x'\nargs = ['${NOT_SET}']\n",
    );
    assert_eq!(
        lines,
        [
            "servers.toml:2: servers.git.comand: unknown key; did you mean \"command\"?",
            "servers.toml:4: servers.git.call_timeout: must be a duration in quotes with its unit, \
             such as \"10s\", not 10",
            "servers.toml:8: servers.two.args: variable NOT_SET is not set; set it in the environment \
             or in .env, or give a default: ${NOT_SET:-…}",
        ]
    );
}

#[test]
fn a_line_that_is_no_toml_does_not_hide_the_other_faults() {
    let lines = told("[servers.a]\ncommand = \ninflight_max = 0\n[servers.b]\ncommand = 'b'\nargz = []\n");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with("servers.toml:2: not valid TOML: "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("servers.toml:3: servers.a.inflight_max: must be a whole number from 1"));
    assert!(lines[2].starts_with("servers.toml:6: servers.b.argz: unknown key; did you mean \"args\"?"));
}

#[test]
fn every_kind_of_fault_says_where_and_what_would_be_right() {
    for (text, at, part) in [
        ("[server.a]\ncommand='a'", 1, "did you mean \"servers\""),
        ("[servers.'a b']\ncommand='a'", 1, "for example `a-b`"),
        ("[servers.a]\nargs=[]", 1, "servers.a.command: missing"),
        ("servers.a = 'npx'", 1, "must be a table"),
        ("servers = 1", 1, "[servers.git]"),
        (
            "[servers.a]\ncommand=1",
            2,
            "must be a text in quotes, not a number",
        ),
        ("[servers.a]\ncommand=''", 2, "must not be empty"),
        ("[servers.a]\ncommand='a'\nargs='b'", 3, "must be a list of texts"),
        (
            "[servers.a]\ncommand='a'\nargs=['b', 3]",
            3,
            "number 2 must be a text",
        ),
        (
            "[servers.a]\ncommand='a'\nenv={PORT=80}",
            3,
            "PORT must be a text",
        ),
        (
            "[servers.a]\ncommand='a'\nenabled='yes'",
            3,
            "must be true or false",
        ),
        ("[servers.a]\ncommand='a'\nprefix='a b'", 3, "letters, digits"),
        (
            "[servers.a]\ncommand='a'\ntransport='sse'",
            3,
            "not supported yet",
        ),
        (
            "[servers.a]\ncommand='a'\nurl='http://x'",
            3,
            "remote servers are not supported yet",
        ),
        (
            "[servers.a]\ncommand='a'\nrestart='sometimes'",
            3,
            "\"always\", \"on-failure\", \"never\"",
        ),
        (
            "[servers.a]\ncommand='a'\ncall_timeout='ten'",
            3,
            "is no duration",
        ),
        ("[servers.a]\ncommand='a'\ncall_timeout='0s'", 3, "too short"),
        ("[servers.a]\ncommand='a'\ncall_timeout='3years'", 3, "too long"),
        ("[servers.a]\ncommand='a'\nidle_stop='no'", 3, "or \"never\""),
        (
            "[servers.a]\ncommand='a'\nbackoff_factor=inf",
            3,
            "must be a number from 1 to 100",
        ),
        (
            "[servers.a]\ncommand='a'\nbackoff_jitter=1979-05-27",
            3,
            "not a date",
        ),
        (
            "[servers.a]\ncommand='a'\ncall_max='1s'",
            1,
            "servers.a.call_max: must not be shorter",
        ),
        (
            "[servers.a]\ncommand='a'\ntype='stdio'\ntransport='stdio'",
            4,
            "keep one",
        ),
        (
            "[servers.a]\ncommand='a'\n[servers.a.env]\nK='${X'",
            4,
            "servers.a.env.K: `${` without `}`",
        ),
        (
            "[servers.a]\ncommand='a'\nargs=[\n'ok',\n'${X}']",
            5,
            "variable X is not set",
        ),
        (
            "[servers.a]\ncommand='a'\naliases={x='a.b'}",
            3,
            "servers.a.aliases: x must be 1 to 64 letters",
        ),
        (
            "[servers.a]\ncommand='a'\nroots=['/ok',\n'${X}']",
            4,
            "variable X is not set",
        ),
        (
            "[servers.a]\ncommand='a'\nroots=['']",
            3,
            "a folder must not be empty",
        ),
        ("[defaults]\naliases={}", 2, "belongs under a server"),
        ("[defaults]\ncommand='a'", 2, "belongs under a server"),
        ("[defaults]\ncall_timeot='1s'", 2, "did you mean \"call_timeout\""),
    ] {
        let lines = told(text);
        assert_eq!(lines.len(), 1, "{text}: {lines:?}");
        assert!(
            lines[0].starts_with(&format!("servers.toml:{at}: ")),
            "{text}: {lines:?}"
        );
        assert!(lines[0].contains(part), "{text}: {lines:?}");
    }
}

#[test]
fn no_value_of_a_variable_is_ever_quoted() {
    for text in [
        "[servers.a]\ncommand='a'\nenv={TOKEN=['hunter2']}",
        "[servers.a]\ncommand='a'\nenv={TOKEN='hunter2${'}",
        "[servers.a]\ncommand='a'\nenv={TOKEN='hunter2}",
        "[servers.a]\ncommand='a'\nargs='hunter2'",
    ] {
        assert!(!told(text).concat().contains("hunter2"), "{text}");
    }
}

#[test]
fn a_missing_file_means_no_servers_and_an_unreadable_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let read = read_servers(&folder.path().join("servers.toml"), &env()).unwrap();
    assert_eq!(read, ServersFile::default());
    assert!(
        read_servers(folder.path(), &env())
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}

#[test]
fn the_shipped_example_is_good() {
    let read = parse(include_str!("../../../servers.toml")).unwrap();
    let names: Vec<_> = read.servers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tickets"]);
}

#[test]
fn the_shipped_example_explains_every_key_with_its_true_default() {
    let text = include_str!("../../../servers.toml");
    for key in KEYS {
        let explains = |line: &&str| line.starts_with('#') && line.contains(key.name);
        let line = text
            .lines()
            .find(explains)
            .unwrap_or_else(|| panic!("`{}` is not explained", key.name));
        if key.in_defaults {
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("# {}  ", key.name)));
            let default = row.and_then(|row| row.split_whitespace().nth(2)).expect(line);
            let read = parse(&format!("[defaults]\n{} = {default}\n", key.name)).unwrap();
            let mut policy = Policy::default();
            read.defaults.overlay(&mut policy);
            assert_eq!(policy, Policy::default(), "{line}");
        }
    }
}

#[test]
fn one_slip_of_toml_is_one_line_that_says_what_was_meant() {
    for (text, at, part) in [
        ("[servers.a]\ncommand = npx\n", 2, "a text must stand in quotes"),
        (
            "[servers.a]\ncommand = 'x'\nargs = ['a', 'b'\nenabled = true\n[servers.b]\ncommand='y'\n",
            4,
            "missing comma",
        ),
        (
            "[servers.a]\ncommand='y'\n[servers.a]\ncommand='y'\n",
            3,
            "a stands here for the second time",
        ),
        ("[servers.a\ncommand = 'x'\n", 1, "unclosed table"),
        (
            "[servers.a]\ncommand = \"x\nargs = ['q']\n",
            2,
            "invalid basic string",
        ),
        ("{\"mcpServers\": {}}", 1, "mcpctl import"),
        ("command = 'x'\n", 1, "must stand under"),
    ] {
        let lines = told(text);
        assert_eq!(lines.len(), 1, "{text}: {lines:?}");
        assert!(
            lines[0].starts_with(&format!("servers.toml:{at}: ")),
            "{text}: {lines:?}"
        );
        assert!(lines[0].contains(part), "{text}: {lines:?}");
    }
}
