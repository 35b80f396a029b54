//! `mcpctl export`: the declared servers, as other programs or `servers.toml` have them. Needs no daemon.

use crate::config::raw::RawServer;
use crate::config::spec::Launch;
use crate::config::{Environment, RawPolicy, resolve};
use crate::ctl::args::{ExportArgs, ExportFormat};
use crate::ctl::context::Context;
use crate::ctl::declared::tell_not_there;
use crate::ctl::definitions::{is_reference, json_of, toml_of, with_values};
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;
use crate::registry::Declared;

/// Prints the servers that are in effect.
pub(super) async fn run(args: &ExportArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let mut declared = context.declared_only(out).await?;
    declared.retain(|it| !it.shadowed);
    let is_there = |name: &&ServerName| declared.iter().any(|it| it.name == **name);
    let absent: Vec<ServerName> = args
        .names
        .iter()
        .filter(|name| !is_there(name))
        .cloned()
        .collect();
    if !absent.is_empty() {
        tell_not_there(&absent, out);
        return Err(Failure::Told);
    }
    let wanted = |it: &Declared| args.names.is_empty() || args.names.contains(&it.name);
    let mut left_out = Vec::new();
    let servers: Vec<(ServerName, RawServer)> = declared
        .into_iter()
        .filter(wanted)
        .map(|it| {
            let raw = shown(
                &it,
                args.with_secrets,
                &context.settings.environment,
                &mut left_out,
            );
            (it.name, raw)
        })
        .collect();
    let pairs = servers.iter().map(|(name, raw)| (name, raw));
    // One text either way: it is for a file.
    match args.format {
        ExportFormat::Json => {
            let value = json_of(pairs);
            let text = serde_json::to_string_pretty(&value)
                .map_err(|error| Failure::Refused(format!("the servers cannot be written: {error}")))?;
            out.either(&value, &text)?;
        }
        ExportFormat::Toml => {
            let text = toml_of(pairs).map_err(Failure::Refused)?;
            out.either(&serde_json::json!({ "toml": text }), &text)?;
        }
    }
    if !left_out.is_empty() {
        out.remark(&format!(
            "mcpctl: values that stand in definitions are left out, a reference stands for each: {}; `--with-secrets` prints them",
            left_out.join(", ")
        ));
    }
    Ok(())
}

/// A definition as it may be shown; what is left out of it goes to `left_out`.
fn shown(it: &Declared, with_secrets: bool, env: &Environment, left_out: &mut Vec<String>) -> RawServer {
    let mut raw = it.raw.clone();
    raw.enabled = (!it.enabled).then_some(false);
    if with_secrets {
        let spec = resolve(&it.name, &raw, &RawPolicy::default(), env);
        let Launch::Command(command) = spec.launch else {
            return raw;
        };
        // What is fetched at the start of the server stays a reference.
        return with_values(&raw, |name, _| {
            let is_late = command.late.env.contains_key(name);
            let value = command.env.get(name).filter(|_| !is_late)?;
            Some(value.reveal().replace("${", "$${"))
        });
    }
    let values = raw.env.iter().flatten();
    let literal = values.filter(|(_, value)| !is_reference(value.reveal()));
    left_out.extend(literal.map(|(name, _)| format!("{}.{name}", it.name)));
    with_values(&raw, |name, value| {
        (!is_reference(value)).then(|| format!("${{{name}}}"))
    })
}
