//! `mcpctl schema`: the JSON Schema of `servers.toml`, for editors.

use crate::config::schema;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;

/// Prints it, with `--json` or without.
pub(super) fn run(out: &mut Out) -> Result<(), Failure> {
    let schema = schema();
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Failure::Refused(format!("the schema cannot be written: {error}")))?;
    Ok(out.either(&schema, &text)?)
}
