//! The prompt `daily_briefing`: how the chain, or one of its branches, stands right now.

use serde_json::{Value, json};

use super::department::BRANCHES;
use super::live::Chain;
use super::settings::Settings;
use crate::demo::arguments::{not_allowed, refuse_unknown};
use crate::demo::fault::Fault;
use crate::demo::server::{Params, object, only_first_page, optional_text, required_text};

pub(super) const BRIEFING: &str = "daily_briefing";

pub(super) fn list(params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "prompts": [
        { "name": BRIEFING, "title": "Daily briefing",
          "description": "Briefs the management on how the restaurants stand.",
          "arguments": [{ "name": "branch", "title": "Branch", "required": false,
                          "description": "Only this branch; without it, all of them." }] },
    ] }))
}

pub(super) fn get(settings: &Settings, chain: &Chain, params: &Params) -> Result<Value, Fault> {
    let name = required_text(params, "name")?;
    if name != BRIEFING {
        return Err(Fault::params(format!(
            "Unknown prompt: {name}. Known: {BRIEFING}."
        )));
    }
    let arguments = object(params, "arguments")?;
    refuse_unknown(&arguments, &["branch"]).map_err(Fault::params)?;
    let branch = known_branch(optional_text(&arguments, "branch")?)?;
    let whose = branch.unwrap_or("all branches");
    let text = format!(
        "Write a briefing of at most eight sentences on {whose}: what goes well, what needs a hand, and which \
         figures cannot be trusted because their source fails. The last readings:\n\n{}",
        readings(settings, chain, branch).join("\n")
    );
    Ok(json!({
        "description": format!("Briefing on {whose}"),
        "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
    }))
}

fn readings(settings: &Settings, chain: &Chain, branch: Option<&str>) -> Vec<String> {
    settings
        .departments
        .iter()
        .filter_map(|department| chain.standing(*department))
        .flat_map(|standing| standing.branches)
        .filter(|event| branch.is_none_or(|branch| branch == event.branch))
        .map(|event| event.line())
        .collect()
}

/// An empty text means none in particular: forms send it for a field that was left blank.
fn known_branch(given: Option<&str>) -> Result<Option<&'static str>, Fault> {
    let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    match BRANCHES
        .into_iter()
        .find(|branch| branch.eq_ignore_ascii_case(given))
    {
        Some(branch) => Ok(Some(branch)),
        None => Err(Fault::params(not_allowed("branch", given, &BRANCHES))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::talking::talk;
    use super::*;

    #[test]
    fn the_briefing_covers_all_branches_or_one() {
        let mut talk = talk();
        let mut text = |arguments: Value| {
            let params = json!({ "name": BRIEFING, "arguments": arguments });
            let answer = talk.ask("prompts/get", params);
            answer["result"]["messages"][0]["content"]["text"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let (all, blank) = (text(json!({})), text(json!({ "branch": " " })));
        assert_eq!(all, blank);
        assert_eq!(all.lines().count(), 2 + 16);
        let one = text(json!({ "branch": "harbour" }));
        assert_eq!(one.lines().count(), 2 + 4);
        assert!(one.contains("on Harbour:") && !one.contains("Market"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_help() {
        let mut talk = talk();
        for (params, told) in [
            (json!({ "name": "nothing" }), "Unknown prompt: nothing"),
            (
                json!({ "name": BRIEFING, "arguments": { "branch": "Harbor" } }),
                "Did you mean `Harbour`?",
            ),
            (
                json!({ "name": BRIEFING, "arguments": { "x": "" } }),
                "There is no argument `x`",
            ),
        ] {
            let error = talk.ask("prompts/get", params)["error"].take();
            assert_eq!(error["code"], -32602);
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
        }
    }
}
