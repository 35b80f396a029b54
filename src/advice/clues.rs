//! Words of stderr that tell what is wrong, and what to try then.
//!
//! The order is by how exactly the words point at the fault; all that match are given.

use super::Scene;

/// One row: when a line has all of `all` and one of `any`, say this.
struct Clue {
    /// Programs this row is about; empty for all.
    programs: &'static [&'static str],
    /// Each of these stands in the line, in lower case.
    all: &'static [&'static str],
    /// One of these stands in the line, in lower case.
    any: &'static [&'static str],
    say: &'static str,
}

const fn clue(any: &'static [&'static str], say: &'static str) -> Clue {
    Clue {
        programs: &[],
        all: &[],
        any,
        say,
    }
}

const CLUES: &[Clue] = &[
    Clue {
        programs: &["uvx", "uv", "python", "python3", "pipx"],
        all: &["mcp"],
        any: &[
            "modulenotfounderror",
            "attributeerror",
            "importerror",
            "cannot import name",
        ],
        say: "It may need an older MCP library than the one it got: pin it, for example `uvx --with 'mcp<2' PACKAGE`.",
    },
    clue(
        &["modulenotfounderror", "no module named"],
        "A Python module is missing: install the server with its dependencies (`uvx PACKAGE` does), or use the Python of its own environment.",
    ),
    clue(
        &["cannot find module", "err_module_not_found"],
        "A Node module is missing: check the path, install the server again (`npm install`), or empty npx's cache (`rm -r ~/.npm/_npx`).",
    ),
    clue(
        &[
            "e404",
            "404 not found",
            "no matching version",
            "etarget",
            "could not determine executable",
            "was not found in the package registry",
            "no solution found when resolving",
        ],
        "The package or its version does not exist under this name: check its spelling, and the version after `@` or `==`.",
    ),
    clue(
        &[
            "enotfound",
            "eai_again",
            "econnreset",
            "etimedout",
            "enetunreach",
            "dns error",
            "temporary failure in name resolution",
            "network is unreachable",
            "failed to fetch",
        ],
        "The network or a proxy is in the way: try again when it is there, set HTTPS_PROXY with `--env`, or install the package once and name its program directly.",
    ),
    clue(
        &["eaddrinuse", "address already in use"],
        "Another program has its port: end the other copy of this server, or turn off its HTTP side (`--stdio`, `--transport stdio`).",
    ),
    clue(
        &[
            "heap out of memory",
            "out of memory",
            "memoryerror",
            "cannot allocate memory",
            "enomem",
        ],
        "It has too little memory: for Node try `--env NODE_OPTIONS=--max-old-space-size=4096`, or give the machine more.",
    ),
    clue(
        &["cannot connect to the docker daemon", "docker.sock"],
        "Start Docker, and let the account that runs mcp-wrapper use it.",
    ),
    clue(
        &["unable to find image", "pull access denied", "manifest unknown"],
        "The image does not exist under this name, or needs `docker login` first.",
    ),
    clue(
        &[
            "unsupported engine",
            "ebadengine",
            "err_require_esm",
            "requires node",
            "unexpected token",
            "requires-python",
            "requires python",
        ],
        "It needs another version of Node or Python: install that one and give its absolute path.",
    ),
    clue(
        &["glibc_", "libstdc++", "error while loading shared libraries"],
        "A system library is missing or too old for this build: install it, or take a build for this system.",
    ),
    clue(&["enospc", "no space left"], "The disk is full: make room."),
    clue(
        &["emfile", "too many open files"],
        "It may open too few files: raise `ulimit -n` for the account that runs mcp-wrapper.",
    ),
    clue(
        &[
            "unrecognized argument",
            "unknown option",
            "unexpected argument",
            "invalid option",
            "usage:",
        ],
        "Its arguments are not what it expects: compare them with its manual.",
    ),
    clue(
        &["eacces", "permission denied", "eperm", "operation not permitted"],
        "It may not read or write something: check the rights of the files it names, for the account that runs mcp-wrapper.",
    ),
    clue(
        &[
            "enoent",
            "no such file or directory",
            "does not exist",
            "not a directory",
            "notadirectory",
        ],
        "A file or folder it was given does not exist: check the paths among its arguments; `~` is not expanded.",
    ),
    clue(
        &["econnrefused", "connection refused"],
        "A service it talks to does not run, or its address is wrong: check its URL and port.",
    ),
    clue(
        &["cannot be launched inside", "tty"],
        "It wants a terminal: look for a flag that makes it a stdio server.",
    ),
];

/// What the lines say, in the order of the table.
pub(super) fn from_words(scene: &Scene<'_>) -> Vec<String> {
    let lines: Vec<String> = scene.lines.iter().map(|line| line.to_ascii_lowercase()).collect();
    let matching = CLUES.iter().filter(|clue| {
        let for_it = clue.programs.is_empty() || clue.programs.contains(&scene.program);
        for_it && lines.iter().any(|line| clue.fits(line))
    });
    missing_key(scene)
        .into_iter()
        .chain(matching.map(|clue| clue.say.to_owned()))
        .collect()
}

impl Clue {
    fn fits(&self, line: &str) -> bool {
        self.all.iter().all(|word| line.contains(word)) && self.any.iter().any(|word| has_word(line, word))
    }
}

/// Whether `word` stands in `line` and does not begin inside another word: `tty` is not in `pretty`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line
            .get(..at)
            .and_then(|b| b.chars().last())
            .is_some_and(char::is_alphanumeric)
    })
}

/// A key or another variable that the server asks for, by its name where the line has one.
fn missing_key(scene: &Scene<'_>) -> Option<String> {
    const WANTED: [&str; 10] = [
        "required",
        "missing",
        "must be set",
        "not set",
        "must provide",
        "please set",
        "please provide",
        "not found",
        "undefined",
        "no value",
    ];
    const SUBJECT: [&str; 7] = [
        "api key",
        "api_key",
        "apikey",
        "token",
        "environment variable",
        "env var",
        "credential",
    ];
    const REFUSED: [&str; 4] = ["unauthorized", "401", "invalid api key", "authentication failed"];
    let lower = |line: &str| line.to_ascii_lowercase();
    let asks = |line: &&&str| {
        let line = lower(line);
        let subject = SUBJECT.iter().any(|word| has_word(&line, word));
        subject && WANTED.iter().any(|word| line.contains(word))
    };
    let names_one =
        |line: &&&str| variable_in(line).is_some() && WANTED.iter().any(|word| lower(line).contains(word));
    if let Some(line) = scene
        .lines
        .iter()
        .find(|line| names_one(line))
        .or_else(|| scene.lines.iter().find(asks))
    {
        let name = variable_in(line).unwrap_or("KEY");
        return Some(format!(
            "It asks for a key or setting: give it with `mcpctl add NAME --replace --env {name}=… -- COMMAND`, or under `env` in servers.toml."
        ));
    }
    let refused = scene
        .lines
        .iter()
        .any(|line| REFUSED.iter().any(|word| has_word(&lower(line), word)));
    refused.then(|| {
        "Its key was refused: check the value that it gets with `--env`, and that it has not expired."
            .to_owned()
    })
}

/// The first word of a line that looks like the name of a variable: `GITHUB_TOKEN`.
fn variable_in(line: &str) -> Option<&str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .find(|word| {
            let shaped = word
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            // Codes of Node and of Linux look the same, but are no settings.
            let code = ["ERR_", "GLIBC_", "EAI_", "MODULE_"]
                .iter()
                .any(|prefix| word.starts_with(prefix));
            shaped && !code && word.contains('_') && word.len() > 4 && !word.starts_with('_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Exit};

    fn first(command: &str, stderr: &str) -> Option<String> {
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let stderr: Vec<String> = stderr.lines().map(str::to_owned).collect();
        let cause = Cause::ExitedInHandshake { exit: Exit::Code(1) };
        from_words(&Scene::new(&cause, &command, &stderr))
            .into_iter()
            .next()
    }

    #[test]
    fn lines_of_real_servers_lead_to_the_right_advice() {
        let cases = [
            (
                "uvx x",
                "AttributeError: module 'mcp.types' has no attribute 'Tool'",
                "mcp<2",
            ),
            (
                "uvx x",
                "ModuleNotFoundError: No module named 'mcp.server.fastmcp'",
                "mcp<2",
            ),
            (
                "python3 s.py",
                "ModuleNotFoundError: No module named 'requests'",
                "Python module",
            ),
            (
                "node s.js",
                "Error: Cannot find module '/a/dist/index.js'",
                "Node module",
            ),
            (
                "npx -y x",
                "npm error code E404\nnpm error 404 Not Found - GET",
                "spelling",
            ),
            ("npx -y x", "npm error code ENOTFOUND", "network"),
            ("uvx x", "error: Failed to fetch: `https://x/`", "network"),
            (
                "uvx x",
                "  × No solution found when resolving tool dependencies:",
                "spelling",
            ),
            (
                "node s",
                "Error: listen EADDRINUSE: address already in use :::3000",
                "port",
            ),
            (
                "node s",
                "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                "memory",
            ),
            (
                "docker run -i x",
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
                "Start Docker",
            ),
            (
                "npx x",
                "npm warn EBADENGINE Unsupported engine {",
                "another version",
            ),
            (
                "npx x",
                "Error accessing directory /nope: ENOENT: no such file or directory",
                "paths among",
            ),
            ("x", "x: unrecognized argument '--foo'", "manual"),
            (
                "x",
                "PermissionError: [Errno 13] Permission denied: '/srv'",
                "rights",
            ),
            ("x", "SLACK_BOT_TOKEN is required", "--env SLACK_BOT_TOKEN=…"),
            (
                "x",
                "Please set SLACK_TEAM_ID and SLACK_BOT_TOKEN environment variables",
                "--env SLACK_TEAM_ID=…",
            ),
            ("x", "Error: API key is missing", "--env KEY=…"),
            ("x", "HTTP 401 Unauthorized", "was refused"),
        ];
        for (command, stderr, expected) in cases {
            let told = first(command, stderr).unwrap_or_default();
            assert!(told.contains(expected), "{stderr}: {told}");
        }
    }

    #[test]
    fn harmless_lines_lead_to_nothing() {
        for line in [
            "Server running on stdio",
            "pretty printing on",
            "loaded 3 tokens",
            "MCP server 1.0",
        ] {
            assert_eq!(first("x", line), None, "{line}");
        }
    }

    #[test]
    fn codes_are_no_variables() {
        assert_eq!(variable_in("code: 'ERR_MODULE_NOT_FOUND'"), None);
        assert_eq!(variable_in("set MY_KEY now"), Some("MY_KEY"));
    }
}
