//! What the daemon itself needs to know, from the environment: where to listen, where its folders are.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tracing::Level;

use super::spec::Secret;
use super::{ConfigError, ConfigErrors, Environment, meant};
use crate::access::{Network, Rate};

/// Fewest characters of `MCP_AUTH_TOKEN`: shorter ones can be guessed.
const AUTH_TOKEN_CHARS_MIN: usize = 16;

/// The settings of the daemon. All paths are absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `MCP_HOST`: the address to listen on. Default 127.0.0.1.
    pub host: IpAddr,
    /// `MCP_PORT`: default 8999; 0 lets the system choose.
    pub port: u16,
    /// `MCP_DATA_DIR`: the registry, the lock and the control socket. Default `./data`.
    pub data_dir: PathBuf,
    /// `MCP_LOG_DIR`: our log and the children's. Default `./logs`.
    pub log_dir: PathBuf,
    /// `MCP_SERVERS_FILE`: the declared servers. Default `./servers.toml`; need not exist.
    pub servers_file: PathBuf,
    /// `MCP_AUTH_TOKEN`: one key that opens everything. Default none; this or keys are needed beyond loopback.
    pub auth_token: Option<Secret>,
    /// `MCP_REQUIRE_KEYS`: whether a client must show a key or the token. Default false: on loopback, and where there is
    /// no token, nobody is asked. Beyond loopback everybody is.
    pub require_keys: bool,
    /// `MCP_KEY_EXEMPT`: networks whose clients are asked for no key. Default none.
    pub key_exempt: Vec<Network>,
    /// How much one client may do.
    pub limits: ClientLimits,
    /// `LOG_LEVEL`: default info; `DEBUG_MODE=true` makes it at least debug.
    pub log_level: Level,
    /// `MCP_ALLOWED_HOSTS`: further names in `Host`, beside the loopback ones.
    pub allowed_hosts: Vec<String>,
    /// `MCP_ALLOWED_ORIGINS`: further origins of browsers, beside the loopback ones.
    pub allowed_origins: Vec<String>,
    /// The environment with the `.env` that was found: for the variables in `servers.toml`.
    pub environment: Environment,
    /// Where the `.env` is, or would be: to read it again when the servers file changes.
    pub dotenv_file: PathBuf,
    /// Whether the person's own folders are used, because the project folder declares nothing.
    pub is_of_user: bool,
}

/// How much one client may do. What is not set has a default that does not hold for clients on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientLimits {
    /// `MCP_RATE_PER_ADDRESS`: requests. Default 6000/min.
    pub requests: Option<Rate>,
    /// `MCP_STREAMS_PER_ADDRESS`: new event streams. Default 20/s.
    pub streams: Option<Rate>,
    /// `MCP_CONNECTIONS_PER_ADDRESS`: connections at once. Default 512.
    pub n_connections: Option<usize>,
    /// `MCP_CALLS_PER_CLIENT`: calls in flight, of one key or of one address without a key. Default 256.
    pub n_calls: Option<usize>,
}

impl Settings {
    /// Reads the environment and the `.env` beside the servers file.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn load(project_dir: &Path, env: &Environment) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        // Fails only where there is no current folder; then the paths are as good as they can be.
        let project_dir = &std::path::absolute(project_dir).unwrap_or_else(|_| project_dir.to_owned());
        let is_project = project_dir.join("servers.toml").exists()
            || ["MCP_SERVERS_FILE", "MCP_DATA_DIR", "MCP_LOG_DIR"]
                .iter()
                .any(|name| env.lookup_filled(name).is_some());
        let base = if is_project {
            Base::Project(project_dir)
        } else {
            Base::User
        };
        let file_before_dotenv = servers_file(project_dir, base, env, &mut errors);
        let dotenv_file = file_before_dotenv.with_file_name(".env");
        let environment = env.with_dotenv(&dotenv_file).unwrap_or_else(|more| {
            errors.extend(more.0);
            env.clone()
        });
        let mut read = Reader {
            env: &environment,
            errors,
        };
        let servers_file = read.servers_file(project_dir, file_before_dotenv);
        let settings = Self {
            host: read.host(),
            port: read
                .parsed("MCP_PORT", "must be a number from 0 to 65535")
                .unwrap_or(8999),
            data_dir: read.folder("MCP_DATA_DIR", project_dir, base, "data"),
            log_dir: read.folder("MCP_LOG_DIR", project_dir, base, "logs"),
            servers_file,
            auth_token: read.auth_token(),
            require_keys: read.flag("MCP_REQUIRE_KEYS"),
            key_exempt: read.networks("MCP_KEY_EXEMPT"),
            limits: read.limits(),
            log_level: read.log_level(),
            allowed_hosts: read.list("MCP_ALLOWED_HOSTS"),
            allowed_origins: read.list("MCP_ALLOWED_ORIGINS"),
            environment: environment.clone(),
            dotenv_file,
            is_of_user: !is_project,
        };
        if read.errors.is_empty() {
            Ok(settings)
        } else {
            Err(ConfigErrors(read.errors))
        }
    }

    /// Why the daemon does not listen where it is told to, if it does not: everybody on the network could run the
    /// servers. `has_keys`: whether there is a key that opens.
    pub fn exposure(&self, has_keys: bool) -> Option<String> {
        if self.host.is_loopback() || self.auth_token.is_some() || has_keys {
            return None;
        }
        Some(format!(
            "MCP_HOST: listening on {} would let everybody on the network run your servers; make a key with \
             `mcpctl key create NAME`, set MCP_AUTH_TOKEN to at least {AUTH_TOKEN_CHARS_MIN} characters, or set \
             MCP_HOST to 127.0.0.1",
            self.host
        ))
    }

    /// What in the `.env` is probably a slip: it would be nobody's variable, and nobody would say so.
    pub fn warnings(&self) -> Vec<String> {
        let mut slips = self.environment.dotenv_names().filter_map(|name| {
            let is_ours = name.starts_with("MCP_") && !VARIABLES.contains(&name);
            let meant = meant::nearest(name, VARIABLES.iter().copied()).filter(|_| is_ours)?;
            Some((name, meant))
        });
        let Some(first) = slips.next() else {
            return Vec::new();
        };
        // What a server's definition names is that server's.
        let servers = super::read_text(&self.servers_file).unwrap_or_default();
        let told = |(name, meant): (&str, &str)| {
            let file = self.dotenv_file.display();
            format!("{file}: {name} is no variable of mcp-wrapper; did you mean {meant}?")
        };
        std::iter::once(first)
            .chain(slips)
            .filter(|(name, _)| !servers.contains(name))
            .map(told)
            .collect()
    }
}

/// The variables that are read here.
const VARIABLES: &[&str] = &[
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
];

/// Whose folders are used when nothing is said.
#[derive(Clone, Copy)]
enum Base<'a> {
    /// Those of the project that the daemon was started in.
    Project(&'a Path),
    /// Those of the person who started it.
    User,
}

fn error(key: &str, what: impl Into<String>) -> ConfigError {
    ConfigError {
        file: PathBuf::new(),
        line: None,
        key: key.to_owned(),
        what: what.into(),
    }
}

/// Where `servers.toml` is as far as the real environment tells: the `.env` lies beside it.
fn servers_file(project: &Path, base: Base<'_>, env: &Environment, errors: &mut Vec<ConfigError>) -> PathBuf {
    if let Some(said) = env.lookup_filled("MCP_SERVERS_FILE") {
        return project.join(env.path(&said));
    }
    match base {
        Base::Project(folder) => folder.join("servers.toml"),
        Base::User => {
            user_folder(env, "XDG_CONFIG_HOME", ".config", "MCP_SERVERS_FILE", errors).join("servers.toml")
        }
    }
}

/// Source: XDG Base Directory Specification: a relative path in these variables is ignored.
fn user_folder(
    env: &Environment,
    variable: &str,
    below_home: &str,
    instead: &str,
    errors: &mut Vec<ConfigError>,
) -> PathBuf {
    let set = env
        .lookup_filled(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || {
        env.lookup_filled("HOME")
            .map(|home| Path::new(&home).join(below_home))
    };
    let Some(folder) = set.or_else(home) else {
        errors.push(error(
            instead,
            format!("neither {variable} nor HOME is set; set {instead} to say where"),
        ));
        return PathBuf::new();
    };
    folder.join("mcp-wrapper")
}

struct Reader<'a> {
    env: &'a Environment,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn fault(&mut self, key: &str, what: impl Into<String>) {
        self.errors.push(error(key, what));
    }

    fn servers_file(&mut self, project: &Path, otherwise: PathBuf) -> PathBuf {
        let Some(said) = self.env.lookup_filled("MCP_SERVERS_FILE") else {
            return otherwise;
        };
        let file = project.join(self.env.path(&said));
        if !file.is_file() {
            let what = format!(
                "there is no file {}; correct the path, or unset it",
                file.display()
            );
            self.fault("MCP_SERVERS_FILE", what);
        }
        file
    }

    fn folder(&mut self, variable: &str, project: &Path, base: Base<'_>, name: &str) -> PathBuf {
        if let Some(said) = self.env.lookup_filled(variable) {
            return project.join(self.env.path(&said));
        }
        match base {
            Base::Project(folder) => folder.join(name),
            Base::User => user_folder(
                self.env,
                "XDG_STATE_HOME",
                ".local/state",
                variable,
                &mut self.errors,
            )
            .join(name),
        }
    }

    fn host(&mut self) -> IpAddr {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if self
            .env
            .lookup_filled("MCP_HOST")
            .is_some_and(|host| host.trim() == "localhost")
        {
            return loopback;
        }
        let rule = "must be an IP address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost";
        self.parsed("MCP_HOST", rule).unwrap_or(loopback)
    }

    fn auth_token(&mut self) -> Option<Secret> {
        let token = self.env.lookup_filled("MCP_AUTH_TOKEN")?;
        let n_chars = token.chars().count();
        if n_chars < AUTH_TOKEN_CHARS_MIN {
            let what = format!(
                "has {n_chars} characters, and fewer than {AUTH_TOKEN_CHARS_MIN} can be guessed; \
                 make one with: openssl rand -hex 32"
            );
            self.fault("MCP_AUTH_TOKEN", what);
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "must be visible ASCII characters without spaces, as it travels in an HTTP header";
            self.fault("MCP_AUTH_TOKEN", what);
        }
        Some(Secret::new(token))
    }

    fn networks(&mut self, name: &str) -> Vec<Network> {
        let parsed: Result<Vec<Network>, _> = self.list(name).iter().map(|text| text.parse()).collect();
        parsed.unwrap_or_else(|bad: crate::access::BadNetwork| {
            self.fault(name, bad.to_string());
            Vec::new()
        })
    }

    fn limits(&mut self) -> ClientLimits {
        let rate = "must be a rate such as 10/s, 60/min or 1000/h";
        let number = "must be a number of at least 1";
        ClientLimits {
            requests: self.parsed("MCP_RATE_PER_ADDRESS", rate),
            streams: self.parsed("MCP_STREAMS_PER_ADDRESS", rate),
            n_connections: self
                .parsed("MCP_CONNECTIONS_PER_ADDRESS", number)
                .map(NonZeroUsize::get),
            n_calls: self.parsed("MCP_CALLS_PER_CLIENT", number).map(NonZeroUsize::get),
        }
    }

    fn log_level(&mut self) -> Level {
        let said = self
            .env
            .lookup_filled("LOG_LEVEL")
            .map(|word| word.trim().to_ascii_lowercase());
        let level = match said.as_deref() {
            Some("error") => Level::ERROR,
            Some("warn" | "warning") => Level::WARN,
            Some("info") | None => Level::INFO,
            Some("debug") => Level::DEBUG,
            Some("trace") => Level::TRACE,
            Some(word) => {
                self.fault(
                    "LOG_LEVEL",
                    format!("must be error, warn, info, debug or trace, not {word:?}"),
                );
                Level::INFO
            }
        };
        // `tracing` orders levels by how much is said: TRACE is the greatest.
        if self.flag("DEBUG_MODE") {
            level.max(Level::DEBUG)
        } else {
            level
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        let said = self
            .env
            .lookup_filled(name)
            .map(|word| word.trim().to_ascii_lowercase());
        match said.as_deref() {
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") | None => false,
            Some(word) => {
                self.fault(name, format!("must be true or false, not {word:?}"));
                false
            }
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        let said = self.env.lookup_filled(name).unwrap_or_default();
        said.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn parsed<T: FromStr>(&mut self, name: &str, rule: &str) -> Option<T> {
        let said = self.env.lookup_filled(name)?;
        let parsed = said.trim().parse().ok();
        if parsed.is_none() {
            self.fault(name, format!("{rule}, not {said:?}"));
        }
        parsed
    }
}

#[cfg(test)]
mod tests;
