//! From a declaration to what a child is started from: defaults filled in, variables replaced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Environment;
use super::expand::{BadTemplate, expand, parse};
use super::raw::{RawPolicy, RawServer};
use super::reference::Part;
use super::roots::file_uri;
use super::spec::{Command, Late, Launch, Policy, Secret, ServerSpec};
use crate::ids::ServerName;

/// Programs that fetch what they run: their first start may take minutes.
pub const RUNNERS: &[&str] = &[
    "npx", "uvx", "pipx", "docker", "podman", "bunx", "pnpm", "yarn", "deno", "uv",
];

/// Patience for the handshake of a package runner, unless the operator said otherwise.
const RUNNER_START_TIMEOUT: Duration = Duration::from_secs(180);

/// What to start and how to supervise it. Never fails: what cannot be started says why.
pub fn resolve(name: &ServerName, raw: &RawServer, defaults: &RawPolicy, env: &Environment) -> ServerSpec {
    let (launch, roots) = launch_of(name, raw, env);
    ServerSpec {
        name: name.clone(),
        enabled: raw.enabled.unwrap_or(true),
        prefix: raw.prefix.clone(),
        aliases: Arc::new(raw.aliases.clone().unwrap_or_default()),
        roots,
        policy: policy_of(raw, defaults, &launch),
        fingerprint: fingerprint_of(raw, &launch),
        launch,
    }
}

/// What to start, and the folders that it is told of.
fn launch_of(name: &ServerName, raw: &RawServer, env: &Environment) -> (Launch, Vec<String>) {
    let mut fill = Filling {
        env,
        faults: raw.faults(),
    };
    let declared = raw.command.clone().unwrap_or_default();
    let args = raw.args.clone().unwrap_or_default();
    let mut late = Late::default();
    let mut command = Command {
        program: fill.path("command", &declared),
        args: fill.arguments("args", &args, &mut late),
        env: fill.variables(raw.env.as_ref(), &mut late),
        cwd: raw.cwd.as_ref().map(|cwd| fill.path("cwd", cwd).into()),
        shown: std::iter::once(declared).chain(args).collect(),
        late,
        stop: None,
    };
    let stop = raw.stop_command.as_deref().and_then(<[_]>::split_first);
    command.stop = stop.map(|(program, args)| {
        let mut late = Late {
            args: BTreeMap::new(),
            env: command.late.env.clone(),
        };
        Box::new(Command {
            program: fill.path("stop_command", program),
            args: fill.arguments("stop_command", args, &mut late),
            shown: raw.stop_command.clone().unwrap_or_default(),
            late,
            ..command.clone()
        })
    });
    let roots = raw.roots.iter().flatten();
    let roots = roots
        .map(|folder| file_uri(fill.path("roots", folder).as_ref()))
        .collect();
    let mut faults = fill.faults;
    if command.program.is_empty() && faults.is_empty() {
        faults.push("command: empty once its variables are replaced".to_owned());
    }
    if faults.is_empty() {
        return (Launch::Command(command), roots);
    }
    let why = format!(
        "`{name}` cannot be started as it is declared: {}",
        faults.join("; ")
    );
    (Launch::Broken { why }, Vec::new())
}

/// Replaces what is known in the texts of one server, and gathers what is wrong with them.
struct Filling<'e> {
    env: &'e Environment,
    faults: Vec<String>,
}

impl Filling<'_> {
    /// A path, known at once.
    fn path(&mut self, key: &str, template: &str) -> String {
        let expanded = expand(template, |variable| self.env.lookup(variable));
        self.note(key, &expanded.faults);
        self.env.path(&expanded.text).to_string_lossy().into_owned()
    }

    fn arguments(&mut self, key: &str, templates: &[String], late: &mut Late) -> Vec<String> {
        let all = templates.iter().enumerate();
        let filled = all.map(|(at, template)| {
            self.text(key, template).unwrap_or_else(|parts| {
                late.args.insert(at, parts);
                template.clone()
            })
        });
        filled.collect()
    }

    fn variables(
        &mut self,
        templates: Option<&BTreeMap<String, Secret>>,
        late: &mut Late,
    ) -> BTreeMap<String, Secret> {
        let all = templates.into_iter().flatten();
        let filled = all.map(|(name, template)| {
            let text = self.text(&format!("env.{name}"), template.reveal());
            let value = text.map(Secret::new).unwrap_or_else(|parts| {
                late.env.insert(name.clone(), parts);
                template.clone()
            });
            (name.clone(), value)
        });
        filled.collect()
    }

    /// A text; or its parts, where some of it has to be fetched at each start.
    fn text(&mut self, key: &str, template: &str) -> Result<String, Vec<Part>> {
        let parsed = parse(template, |variable| self.env.lookup(variable));
        self.note(key, &parsed.faults);
        let known: Option<String> = parsed
            .parts
            .iter()
            .map(|part| match part {
                Part::Known(text) => Some(text.reveal()),
                Part::Fetched { .. } => None,
            })
            .collect();
        known.ok_or(parsed.parts)
    }

    fn note(&mut self, key: &str, faults: &[BadTemplate]) {
        self.faults
            .extend(faults.iter().map(|fault| format!("{key}: {fault}")));
    }
}

fn policy_of(raw: &RawServer, defaults: &RawPolicy, launch: &Launch) -> Policy {
    let mut policy = Policy::default();
    if let Launch::Command(command) = launch
        && is_runner(&command.program)
    {
        policy.start_timeout = RUNNER_START_TIMEOUT;
    }
    defaults.overlay(&mut policy);
    raw.policy.overlay(&mut policy);
    policy
}

/// Whether it is one of those.
pub fn is_runner(program: &str) -> bool {
    Path::new(program)
        .file_name()
        .and_then(|file| file.to_str())
        .is_some_and(|file| RUNNERS.contains(&file))
}

/// What decides which tools a server has, as it is declared: neither the values in `env` nor those of variables elsewhere
/// do, as a new token must not lose the saved lists.
fn fingerprint_of(raw: &RawServer, launch: &Launch) -> String {
    let variables = raw.env.iter().flatten().map(|(name, _)| name.as_str());
    let mut hash = Sha256::new();
    // Each part with its length, so that no two lists look the same when put one after the other.
    let mut part = |text: &str| {
        hash.update(text.len().to_string());
        hash.update(":");
        hash.update(text);
    };
    match launch {
        Launch::Command(command) => {
            part("command");
            part(&command.shown.len().to_string());
            command.shown.iter().for_each(|word| part(word));
            part(raw.cwd.as_deref().unwrap_or_default());
        }
        Launch::Broken { .. } => part("broken"),
    }
    variables.for_each(part);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn env() -> Environment {
        Environment::new(|name| match name {
            "HOME" => Some("/home/me".to_owned()),
            "TOKEN" => Some("hunter2hunter2".to_owned()),
            _ => None,
        })
    }

    fn resolved(json: &str, defaults: &str) -> ServerSpec {
        let raw = serde_json::from_str(json).unwrap();
        let defaults = serde_json::from_str(defaults).unwrap();
        resolve(&ServerName::parse("a").unwrap(), &raw, &defaults, &env())
    }

    #[test]
    fn variables_are_replaced_and_what_came_from_them_does_not_print() {
        let spec = resolved(
            r#"{"command":"~/bin/x","args":["--key=${TOKEN}","$HOME"],"env":{"T":"${TOKEN}"},"cwd":"${HOME}/w"}"#,
            "{}",
        );
        let Launch::Command(command) = &spec.launch else {
            panic!("{spec:?}")
        };
        assert_eq!(command.program, "/home/me/bin/x");
        assert_eq!(command.args, ["--key=hunter2hunter2", "$HOME"]);
        assert_eq!(command.env["T"].reveal(), "hunter2hunter2");
        assert_eq!(command.cwd, Some(PathBuf::from("/home/me/w")));
        assert_eq!(command.shown, ["~/bin/x", "--key=${TOKEN}", "$HOME"]);
        assert!(!format!("{spec:?}").contains("hunter2"), "{spec:?}");
    }

    #[test]
    fn what_is_fetched_at_each_start_is_kept_as_it_was_declared() {
        let text = r#"{"command":"x","args":["a","--key=${file:/run/k}${TOKEN}"],"env":{"T":"${cmd:pass show t}","N":"${env:NO}","P":"p"},"stop_command":["y","${keyring:k}"]}"#;
        let spec = resolved(text, "{}");
        let Launch::Command(command) = &spec.launch else {
            panic!("{spec:?}")
        };
        assert_eq!(command.args, ["a", "--key=${file:/run/k}${TOKEN}"]);
        assert_eq!(command.late.args[&1].len(), 3);
        assert_eq!(command.late.env.keys().collect::<Vec<_>>(), ["N", "T"]);
        let stop = command.stop.as_deref().unwrap();
        assert_eq!(stop.late.args.keys().collect::<Vec<_>>(), [&0]);
        assert_eq!(stop.late.env, command.late.env);
        assert_eq!(spec, resolved(text, "{}"));
        assert!(!format!("{spec:?}").contains("hunter2"), "{spec:?}");
        let early = resolved(r#"{"command":"${file:/x}","roots":["${cmd:x}"]}"#, "{}");
        assert!(
            matches!(&early.launch, Launch::Broken { why } if why.contains("command: `${file:…}` can stand in")
                && why.contains("roots: `${cmd:…}`")),
            "{early:?}"
        );
    }

    #[test]
    fn names_and_folders_are_taken_over_and_decide_nothing_about_the_saved_lists() {
        let plain = resolved(r#"{"command":"x"}"#, "{}");
        assert!(plain.aliases.is_empty() && plain.roots.is_empty());
        let spec = resolved(
            r#"{"command":"x","aliases":{"a.b":"c"},"roots":["~/a b","${HOME}/c","/d"]}"#,
            "{}",
        );
        assert_eq!(spec.aliases["a.b"], "c");
        assert_eq!(
            spec.roots,
            ["file:///home/me/a%20b", "file:///home/me/c", "file:///d"]
        );
        assert_eq!(spec.fingerprint, plain.fingerprint);
        let broken = resolved(r#"{"command":"x","roots":["${NO}"]}"#, "{}");
        let Launch::Broken { why } = &broken.launch else {
            panic!("{broken:?}")
        };
        assert!(why.contains("roots: variable NO"), "{why}");
    }

    #[test]
    fn the_command_for_the_end_has_the_same_variables_and_folder() {
        let spec = resolved(
            r#"{"command":"x","args":["a"],"env":{"T":"${TOKEN}"},"cwd":"/w","stop_command":["~/kill","${TOKEN}"]}"#,
            "{}",
        );
        let Launch::Command(command) = &spec.launch else {
            panic!("{spec:?}")
        };
        let stop = command.stop.as_deref().unwrap();
        assert_eq!(
            (stop.program.as_str(), stop.args.as_slice()),
            ("/home/me/kill", &["hunter2hunter2".to_owned()][..])
        );
        assert_eq!((&stop.env, &stop.cwd), (&command.env, &command.cwd));
        assert_eq!(stop.shown, ["~/kill", "${TOKEN}"]);
        let broken = resolved(r#"{"command":"x","stop_command":[""]}"#, "{}");
        assert!(
            matches!(&broken.launch, Launch::Broken { why } if why.contains("stop_command: must begin with"))
        );
    }

    #[test]
    fn what_cannot_be_started_says_everything_that_is_wrong() {
        let spec = resolved(
            r#"{"command":"x","args":["${NO}"],"env":{"K":"${NEITHER}"},"queue_max":99999999}"#,
            "{}",
        );
        let Launch::Broken { why } = &spec.launch else {
            panic!("{spec:?}")
        };
        for part in [
            "`a`",
            "args: variable NO",
            "env.K: variable NEITHER",
            "queue_max:",
        ] {
            assert!(why.contains(part), "{why}");
        }
        let empty = resolved(r#"{"command":"${NO:-}"}"#, "{}");
        assert!(matches!(empty.launch, Launch::Broken { .. }), "{empty:?}");
    }

    #[test]
    fn runners_get_more_patience_unless_the_operator_says_otherwise() {
        let patience = |json: &str, defaults: &str| resolved(json, defaults).policy.start_timeout.as_secs();
        assert_eq!(patience(r#"{"command":"python"}"#, "{}"), 60);
        assert_eq!(patience(r#"{"command":"/usr/local/bin/npx"}"#, "{}"), 180);
        assert_eq!(patience(r#"{"command":"npx"}"#, r#"{"start_timeout":"7s"}"#), 7);
        assert_eq!(
            patience(
                r#"{"command":"npx","start_timeout":"9s"}"#,
                r#"{"start_timeout":"7s"}"#
            ),
            9
        );
    }

    #[test]
    fn a_server_can_turn_off_what_the_defaults_turn_on() {
        let spec = resolved(r#"{"command":"x","idle_stop":"never"}"#, r#"{"idle_stop":"5m"}"#);
        assert_eq!(spec.policy.idle_stop, None);
    }

    #[test]
    fn the_fingerprint_follows_the_command_and_not_the_secrets_or_the_policy() {
        let of = |json: &str| resolved(json, "{}").fingerprint;
        let first = of(r#"{"command":"x","args":["a","b"],"env":{"K":"1"}}"#);
        assert_eq!(first.len(), 64);
        assert_eq!(
            first,
            of(r#"{"command":"x","args":["a","b"],"env":{"K":"2"},"enabled":false,"fail_burst":2}"#)
        );
        assert_ne!(first, of(r#"{"command":"x","args":["ab"],"env":{"K":"1"}}"#));
        // What stands for a value counts, the value does not.
        let declared: RawServer = serde_json::from_str(r#"{"command":"x","args":["${T}"]}"#).unwrap();
        let with = |value: &'static str| {
            let env = Environment::new(move |_| Some(value.to_owned()));
            resolve(
                &ServerName::parse("a").unwrap(),
                &declared,
                &RawPolicy::default(),
                &env,
            )
            .fingerprint
        };
        assert_eq!(with("one"), with("two"));
        assert_ne!(with("one"), of(r#"{"command":"x","args":["one"]}"#));
        assert_ne!(
            first,
            of(r#"{"command":"x","args":["a"],"env":{"b":"","K":"1"}}"#)
        );
        assert_ne!(
            first,
            of(r#"{"command":"x","args":["a","b"],"env":{"K":"1"},"cwd":"/"}"#)
        );
    }
}
