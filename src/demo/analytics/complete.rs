//! Completion of the prompt's branch and of the department in the resource template.

use serde_json::{Value, json};

use super::department::BRANCHES;
use super::offer;
use super::prompts::BRIEFING;
use super::resources::EVENTS_TEMPLATE;
use super::settings::Settings;
use crate::demo::fault::Fault;
use crate::demo::server::{Params, object, required_text};

pub(super) fn complete(settings: &Settings, params: &Params) -> Result<Value, Fault> {
    let argument = object(params, "argument")?;
    let candidates = candidates(
        settings,
        &object(params, "ref")?,
        required_text(&argument, "name")?,
    )?;
    let begun = required_text(&argument, "value")?.to_lowercase();
    let values: Vec<&str> = candidates
        .into_iter()
        .filter(|candidate| candidate.to_lowercase().starts_with(&begun))
        .collect();
    Ok(json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }))
}

fn candidates(settings: &Settings, reference: &Params, argument: &str) -> Result<Vec<&'static str>, Fault> {
    let kind = required_text(reference, "type")?;
    let named = match kind {
        "ref/prompt" => required_text(reference, "name")?,
        "ref/resource" => required_text(reference, "uri")?,
        _ => {
            return Err(Fault::params(format!(
                "`{kind}` is neither `ref/prompt` nor `ref/resource`"
            )));
        }
    };
    match (kind, named, argument) {
        ("ref/prompt", BRIEFING, "branch") => Ok(BRANCHES.to_vec()),
        ("ref/resource", EVENTS_TEMPLATE, "department") => Ok(offer::words(settings)),
        _ => Err(Fault::params(format!(
            "`{named}` has no argument `{argument}` to complete"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::talking::talk;
    use super::*;

    #[test]
    fn branches_and_departments_are_completed_from_what_was_typed() {
        let mut talk = talk();
        let mut values = |reference: Value, name: &str, value: &str| {
            let params = json!({ "ref": reference, "argument": { "name": name, "value": value } });
            talk.ask("completion/complete", params)["result"]["completion"].take()
        };
        let prompt = json!({ "type": "ref/prompt", "name": BRIEFING });
        let template = json!({ "type": "ref/resource", "uri": EVENTS_TEMPLATE });
        assert_eq!(
            values(prompt.clone(), "branch", "h"),
            json!({ "values": ["Harbour"], "total": 1, "hasMore": false })
        );
        assert_eq!(values(prompt, "branch", "")["values"], json!(BRANCHES));
        assert_eq!(
            values(template.clone(), "department", "S")["values"],
            json!(["sales", "shifts"])
        );
        assert_eq!(values(template, "department", "zz")["values"], json!([]));
    }

    #[test]
    fn what_cannot_be_completed_is_refused() {
        let mut talk = talk();
        let argument = json!({ "name": "branch", "value": "" });
        for params in [
            json!({ "ref": { "type": "ref/prompt", "name": "none" }, "argument": argument }),
            json!({ "ref": { "type": "ref/tool", "name": BRIEFING }, "argument": argument }),
            json!({ "ref": { "type": "ref/prompt", "name": BRIEFING }, "argument": { "name": "branch" } }),
            json!({ "ref": { "type": "ref/resource", "uri": "analytics://summary" }, "argument": argument }),
            json!({}),
        ] {
            assert_eq!(talk.ask("completion/complete", params)["error"]["code"], -32602);
        }
    }
}
