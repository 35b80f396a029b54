//! The programs that are clients of MCP servers: where each keeps its settings, and in which form.
//!
//! | client | file, below the home folder | the servers are in | described in |
//! | --- | --- | --- | --- |
//! | Claude Desktop | `.config/Claude/claude_desktop_config.json`, macOS: `Library/Application Support/Claude/…` | `mcpServers` | modelcontextprotocol.io, "Connect to local MCP servers" |
//! | Claude Code | `.claude.json`; `.mcp.json` of a project | `mcpServers`, `projects.*.mcpServers` | code.claude.com/docs/en/mcp, "MCP installation scopes" |
//! | Cursor | `.cursor/mcp.json`; the same in a project | `mcpServers` | cursor.com/docs/context/mcp, "Configuration locations" |
//! | VS Code | `.config/Code/User/mcp.json` (before: `settings.json`), macOS: `Library/Application Support/Code/User/…`; `.vscode/mcp.json` of a project | `servers` (before: `mcp.servers`) | code.visualstudio.com/docs/copilot/reference/mcp-configuration |
//! | Windsurf | `.codeium/windsurf/mcp_config.json` | `mcpServers` | docs.windsurf.com/windsurf/cascade/mcp, "mcp_config.json" |
//! | Zed | `.config/zed/settings.json`; `.zed/settings.json` of a project | `context_servers` | zed.dev/docs/ai/mcp, "As Custom Servers" |
//! | Codex | `.codex/config.toml`, or where `CODEX_HOME` says; `.codex/config.toml` of a project | `[mcp_servers.NAME]` | developers.openai.com/codex/mcp, "Connect Codex to an MCP server" |
//! | Gemini | `.gemini/settings.json`; the same in a project | `mcpServers` | geminicli.com/docs/tools/mcp-server, "Configure the MCP server in settings.json" |
//!
//! On Linux `XDG_CONFIG_HOME` stands for `.config`. Pure: nothing is looked for here.

use std::path::{Path, PathBuf};

/// A program that uses MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    VsCode,
    Windsurf,
    Zed,
    Codex,
    Gemini,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON, perhaps with what people add to it: comments, trailing commas, JSON5.
    Json,
    Toml,
}

/// Which system it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    /// Linux and its kin.
    Linux,
    MacOs,
}

/// The folders that decide where settings are.
#[derive(Debug, Clone)]
pub(super) struct Homes {
    pub(super) home: PathBuf,
    /// `XDG_CONFIG_HOME`, if it is set.
    pub(super) config: Option<PathBuf>,
    /// `CODEX_HOME`, if it is set.
    pub(super) codex: Option<PathBuf>,
    /// The project folder.
    pub(super) project: PathBuf,
}

/// A file in which a client may have servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) file: PathBuf,
}

impl Client {
    pub(super) const ALL: [Self; 8] = [
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::VsCode,
        Self::Windsurf,
        Self::Zed,
        Self::Codex,
        Self::Gemini,
    ];

    /// On the command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini",
        }
    }

    /// The client of this word, in any spelling.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
        let wanted = plain(word);
        Self::ALL
            .into_iter()
            .find(|client| plain(client.word()) == wanted || plain(client.title()) == wanted)
    }

    /// How its files are written.
    pub(super) fn format(self) -> Format {
        match self {
            Self::Codex => Format::Toml,
            Self::ClaudeDesktop
            | Self::ClaudeCode
            | Self::Cursor
            | Self::VsCode
            | Self::Windsurf
            | Self::Zed
            | Self::Gemini => Format::Json,
        }
    }

    /// The name of the table of servers in the file that `install` writes.
    pub(super) fn servers_key(self) -> &'static str {
        match self {
            Self::VsCode => "servers",
            Self::Zed => "context_servers",
            Self::Codex => "mcp_servers",
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor | Self::Windsurf | Self::Gemini => {
                "mcpServers"
            }
        }
    }

    /// Whether `$NAME` stands for a variable, as `${NAME}` does (geminicli.com/docs/cli/configuration, "Note on
    /// environment variables in settings").
    pub(super) fn has_bare_variables(self) -> bool {
        self == Self::Gemini
    }
}

impl Platform {
    /// The one we run on.
    pub(super) fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Toml => "TOML",
        })
    }
}

impl Format {
    /// As the ending of a file says.
    pub(super) fn of(file: &Path) -> Self {
        let is_toml = file
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        if is_toml { Self::Toml } else { Self::Json }
    }
}

/// The file of the person's own settings, the one for `install` first; then those of the project.
pub(super) fn places(client: Client, homes: &Homes, platform: Platform) -> Vec<Place> {
    let home = |path: &str| homes.home.join(path);
    let project = |path: &str| homes.project.join(path);
    let xdg = homes.config.clone().unwrap_or_else(|| home(".config"));
    let support = match platform {
        Platform::Linux => xdg.clone(),
        Platform::MacOs => home("Library/Application Support"),
    };
    let files = match client {
        Client::ClaudeDesktop => vec![support.join("Claude/claude_desktop_config.json")],
        Client::ClaudeCode => vec![home(".claude.json"), project(".mcp.json")],
        Client::Cursor => vec![home(".cursor/mcp.json"), project(".cursor/mcp.json")],
        Client::VsCode => vec![
            support.join("Code/User/mcp.json"),
            support.join("Code/User/settings.json"),
            project(".vscode/mcp.json"),
        ],
        Client::Windsurf => vec![home(".codeium/windsurf/mcp_config.json")],
        // Below `.config` on macOS, too (zed.dev/docs/configuring-zed, "Settings Files").
        Client::Zed => vec![
            match platform {
                Platform::Linux => xdg.join("zed/settings.json"),
                Platform::MacOs => home(".config/zed/settings.json"),
            },
            project(".zed/settings.json"),
        ],
        Client::Codex => vec![
            homes
                .codex
                .clone()
                .unwrap_or_else(|| home(".codex"))
                .join("config.toml"),
            project(".codex/config.toml"),
        ],
        Client::Gemini => vec![home(".gemini/settings.json"), project(".gemini/settings.json")],
    };
    let mut places: Vec<Place> = Vec::new();
    for file in files {
        // The project may be the home folder.
        if places.iter().all(|place| place.file != file) {
            places.push(Place { client, file });
        }
    }
    places
}

/// All places of all clients.
pub(super) fn all_places(homes: &Homes, platform: Platform) -> Vec<Place> {
    Client::ALL
        .into_iter()
        .flat_map(|client| places(client, homes, platform))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes() -> Homes {
        Homes {
            home: "/h".into(),
            config: None,
            codex: None,
            project: "/p".into(),
        }
    }

    fn files(client: Client, homes: &Homes, platform: Platform) -> Vec<String> {
        let places = places(client, homes, platform);
        places
            .iter()
            .map(|place| place.file.display().to_string())
            .collect()
    }

    #[test]
    fn each_system_has_its_own_places() {
        let both = |client| {
            [Platform::Linux, Platform::MacOs]
                .map(|platform| files(client, &homes(), platform).swap_remove(0))
        };
        for (client, linux, macos) in [
            (
                Client::ClaudeDesktop,
                "/h/.config/Claude/claude_desktop_config.json",
                "/h/Library/Application Support/Claude/claude_desktop_config.json",
            ),
            (Client::ClaudeCode, "/h/.claude.json", "/h/.claude.json"),
            (Client::Cursor, "/h/.cursor/mcp.json", "/h/.cursor/mcp.json"),
            (
                Client::VsCode,
                "/h/.config/Code/User/mcp.json",
                "/h/Library/Application Support/Code/User/mcp.json",
            ),
            (
                Client::Windsurf,
                "/h/.codeium/windsurf/mcp_config.json",
                "/h/.codeium/windsurf/mcp_config.json",
            ),
            (
                Client::Zed,
                "/h/.config/zed/settings.json",
                "/h/.config/zed/settings.json",
            ),
            (Client::Codex, "/h/.codex/config.toml", "/h/.codex/config.toml"),
            (
                Client::Gemini,
                "/h/.gemini/settings.json",
                "/h/.gemini/settings.json",
            ),
        ] {
            assert_eq!(both(client), [linux, macos]);
        }
    }

    #[test]
    fn the_environment_moves_them_and_no_file_is_named_twice() {
        let mut moved = Homes {
            config: Some("/x".into()),
            codex: Some("/c".into()),
            ..homes()
        };
        let first = |client, homes: &Homes| files(client, homes, Platform::Linux).swap_remove(0);
        assert_eq!(first(Client::Zed, &moved), "/x/zed/settings.json");
        assert_eq!(first(Client::Codex, &moved), "/c/config.toml");
        assert_eq!(
            files(Client::Zed, &moved, Platform::MacOs)[0],
            "/h/.config/zed/settings.json"
        );
        moved.project = "/h".into();
        assert_eq!(
            files(Client::Cursor, &moved, Platform::Linux),
            ["/h/.cursor/mcp.json"]
        );
    }

    #[test]
    fn a_client_is_known_by_its_word_and_its_name() {
        for client in Client::ALL {
            assert_eq!(Client::of_word(client.word()), Some(client));
            assert_eq!(Client::of_word(client.title()), Some(client));
            let all = places(client, &homes(), Platform::Linux);
            assert!(all.iter().all(|place| Format::of(&place.file) == client.format()));
        }
        assert_eq!(Client::of_word("VS_Code"), Some(Client::VsCode));
        assert_eq!(Client::of_word("emacs"), None);
        assert_eq!(all_places(&homes(), Platform::Linux).len(), 15);
    }
}
