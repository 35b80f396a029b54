//! Completion of the prompts' arguments and of the id in the resource template.

use serde_json::{Value, json};

use super::resources::TICKET_TEMPLATE;
use super::store::Store;
use crate::demo::fault::Fault;
use crate::demo::server::{Params, object, required_text};

/// How many values one answer may carry. Source: MCP 2025-11-25, completion, "Completion Results".
const VALUES_MAX: usize = 100;

pub(super) fn complete(store: &Store, params: &Params) -> Result<Value, Fault> {
    let argument = object(params, "argument")?;
    let candidates = candidates(store, &object(params, "ref")?, required_text(&argument, "name")?)?;
    let begun = required_text(&argument, "value")?.to_lowercase();
    let fitting: Vec<&str> = candidates
        .into_iter()
        .filter(|candidate| continues(candidate, &begun))
        .collect();
    let values = fitting.get(..VALUES_MAX).unwrap_or(&fitting);
    Ok(json!({ "completion": {
        "values": values, "total": fitting.len(), "hasMore": values.len() < fitting.len() } }))
}

fn candidates<'s>(store: &'s Store, reference: &Params, argument: &str) -> Result<Vec<&'s str>, Fault> {
    let named = match required_text(reference, "type")? {
        "ref/prompt" => required_text(reference, "name")?,
        "ref/resource" => required_text(reference, "uri")?,
        other => {
            return Err(Fault::params(format!(
                "`{other}` is neither `ref/prompt` nor `ref/resource`"
            )));
        }
    };
    match (named, argument) {
        ("triage", "ticket_id") | (TICKET_TEMPLATE, "id") => Ok(store.ids()),
        ("weekly_summary", "user") => Ok(store.users()),
        _ => Err(Fault::params(format!(
            "`{named}` has no argument `{argument}` to complete"
        ))),
    }
}

/// Whether a candidate goes on from what was typed; of an id, the digits alone will do.
fn continues(candidate: &str, begun: &str) -> bool {
    let candidate = candidate.to_lowercase();
    let digits = candidate.trim_start_matches("t-").trim_start_matches('0');
    candidate.starts_with(begun) || (digits.len() < candidate.len() && digits.starts_with(begun))
}

#[cfg(test)]
mod tests {
    use super::super::asking::ask;
    use super::*;

    fn values(reference: &Value, argument: &str, value: &str) -> Vec<String> {
        let params = json!({ "ref": reference, "argument": { "name": argument, "value": value } });
        let result = ask("completion/complete", params).unwrap();
        let completion = &result["completion"];
        assert_eq!(completion["hasMore"], false);
        let values: Vec<String> = serde_json::from_value(completion["values"].clone()).unwrap();
        assert_eq!(completion["total"], values.len());
        values
    }

    #[test]
    fn ids_and_users_are_completed_from_what_was_typed() {
        let triage = json!({ "type": "ref/prompt", "name": "triage" });
        let weekly = json!({ "type": "ref/prompt", "name": "weekly_summary" });
        let template = json!({ "type": "ref/resource", "uri": TICKET_TEMPLATE });
        assert_eq!(values(&triage, "ticket_id", "").len(), 50);
        assert_eq!(values(&triage, "ticket_id", "t-00").len(), 9);
        assert_eq!(values(&template, "id", "T-05"), ["T-050"]);
        assert_eq!(values(&template, "id", "5"), ["T-005", "T-050"]);
        assert_eq!(values(&weekly, "user", "").len(), 8);
        assert_eq!(values(&weekly, "user", "D"), ["dana"]);
        assert_eq!(values(&weekly, "user", "zz"), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_completed_is_refused() {
        let argument = json!({ "name": "ticket_id", "value": "" });
        for params in [
            json!({ "ref": { "type": "ref/prompt", "name": "none" }, "argument": argument }),
            json!({ "ref": { "type": "ref/prompt", "name": "weekly_summary" }, "argument": argument }),
            json!({ "ref": { "type": "ref/tool", "name": "triage" }, "argument": argument }),
            json!({ "ref": { "type": "ref/prompt", "name": "triage" } }),
            json!({ "ref": { "type": "ref/prompt", "name": "triage" }, "argument": { "name": "ticket_id" } }),
            json!({}),
        ] {
            assert_eq!(
                ask("completion/complete", params.clone()).unwrap_err()["code"],
                -32602,
                "{params}"
            );
        }
    }
}
