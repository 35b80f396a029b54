//! The prompts: `triage` one ticket, and a `weekly_summary` of the team or of one of its members.

use serde_json::{Value, json};

use super::store::{Store, Ticket};
use super::tools;
use crate::demo::arguments::{not_allowed, refuse_unknown};
use crate::demo::fault::Fault;
use crate::demo::server::{Params, object, only_first_page, optional_text, required_text};

/// The first day of the week that `weekly_summary` covers: the seven days up to the last update of any ticket.
const WEEK_FROM: &str = "2025-10-27";
/// Its last day.
const WEEK_TO: &str = "2025-11-02";

pub(super) fn list(params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "prompts": [
        { "name": "triage", "title": "Triage a ticket",
          "description": "Judges the priority and category of one ticket and proposes the next step.",
          "arguments": [{ "name": "ticket_id", "title": "Ticket", "required": true,
                          "description": "The id of the ticket, for example T-001." }] },
        { "name": "weekly_summary", "title": "Summary of the week",
          "description": "Sums up what happened to the tickets in the last week of the sample.",
          "arguments": [{ "name": "user", "title": "User", "required": false,
                          "description": "Only the tickets of this user; without it, of everybody." }] },
    ] }))
}

pub(super) fn get(store: &Store, params: &Params) -> Result<Value, Fault> {
    let name = required_text(params, "name")?;
    let arguments = object(params, "arguments")?;
    match name {
        "triage" => triage(store, &arguments),
        "weekly_summary" => weekly_summary(store, &arguments),
        _ => Err(Fault::params(format!(
            "Unknown prompt: {name}. Known: triage, weekly_summary."
        ))),
    }
}

fn triage(store: &Store, arguments: &Params) -> Result<Value, Fault> {
    refuse_unknown(arguments, &["ticket_id"]).map_err(Fault::params)?;
    let id = required_text(arguments, "ticket_id")?;
    let ticket = store
        .find(id)
        .ok_or_else(|| Fault::params(tools::no_ticket(store, id)))?;
    let text = format!(
        "Triage this ticket. Say whether its priority and category are right and why, name what is missing \
         to work on it, and propose the next step in one sentence.\n\n{}\nCreated {}.\n{}",
        tools::line(ticket),
        ticket.created,
        ticket.description
    );
    Ok(prompt(&format!("Triage of {}", ticket.id), &text))
}

fn weekly_summary(store: &Store, arguments: &Params) -> Result<Value, Fault> {
    refuse_unknown(arguments, &["user"]).map_err(Fault::params)?;
    let user = known_user(store, optional_text(arguments, "user")?)?;
    let lines: Vec<String> = store
        .all()
        .iter()
        .filter(|ticket| in_the_week(ticket, user))
        .map(tools::line)
        .collect();
    let whose = user.map_or_else(|| "the team".to_owned(), str::to_owned);
    let text = format!(
        "Sum up the week from {WEEK_FROM} to {WEEK_TO} for {whose} in at most ten sentences: what moved, what \
         is stuck, and what needs a decision. {} tickets were updated:\n\n{}",
        lines.len(),
        lines.join("\n")
    );
    Ok(prompt(&format!("The week of {whose}"), &text))
}

/// An empty text means nobody in particular: forms send it for a field that was left blank.
fn known_user<'s>(store: &'s Store, given: Option<&str>) -> Result<Option<&'s str>, Fault> {
    let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let users = store.users();
    match users.iter().find(|user| user.eq_ignore_ascii_case(given)) {
        Some(user) => Ok(Some(user)),
        None => Err(Fault::params(not_allowed("user", given, &users))),
    }
}

fn in_the_week(ticket: &Ticket, user: Option<&str>) -> bool {
    (WEEK_FROM..=WEEK_TO).contains(&ticket.updated.as_str()) && user.is_none_or(|user| user == ticket.user)
}

fn prompt(description: &str, text: &str) -> Value {
    json!({
        "description": description,
        "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::asking::ask;
    use super::*;

    fn text(name: &str, arguments: Value) -> String {
        let result = ask("prompts/get", json!({ "name": name, "arguments": arguments })).unwrap();
        assert_eq!(result["messages"][0]["role"], "user");
        result["messages"][0]["content"]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_prompts_are_listed_with_their_arguments() {
        let listed = ask("prompts/list", json!({})).unwrap();
        let arguments = |at: usize| listed["prompts"][at]["arguments"][0].clone();
        assert_eq!(
            (&arguments(0)["name"], &arguments(0)["required"]),
            (&json!("ticket_id"), &json!(true))
        );
        assert_eq!(
            (&arguments(1)["name"], &arguments(1)["required"]),
            (&json!("user"), &json!(false))
        );
    }

    #[test]
    fn triage_carries_the_ticket() {
        let text = text("triage", json!({ "ticket_id": "T-041" }));
        assert!(
            text.contains("Invitation links never expire") && text.contains("Expire links after seven days.")
        );
    }

    #[test]
    fn the_week_ends_with_the_last_update_of_the_sample() {
        let store = Store::load().unwrap();
        assert_eq!(
            store.all().iter().map(|ticket| ticket.updated.as_str()).max(),
            Some(WEEK_TO)
        );
    }

    #[test]
    fn the_summary_covers_the_team_or_one_user() {
        let (team, blank) = (
            text("weekly_summary", json!({})),
            text("weekly_summary", json!({ "user": "" })),
        );
        assert_eq!(team, blank);
        assert!(team.contains("T-001") && team.contains("T-050") && !team.contains("T-006"));
        let dana = text("weekly_summary", json!({ "user": "Dana" }));
        assert!(dana.contains("for dana") && dana.contains("T-044") && !dana.contains("T-050"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_help() {
        for (params, told) in [
            (json!({ "name": "nothing" }), "Unknown prompt: nothing"),
            (json!({ "name": "triage" }), "`ticket_id` is missing"),
            (
                json!({ "name": "triage", "arguments": { "ticket_id": "T-05" } }),
                "There is no ticket `T-05`",
            ),
            (
                json!({ "name": "triage", "arguments": { "ticket_id": "T-001", "x": "" } }),
                "There is no argument `x`",
            ),
            (
                json!({ "name": "weekly_summary", "arguments": { "user": "beN2" } }),
                "Did you mean `ben`?",
            ),
        ] {
            let error = ask("prompts/get", params).unwrap_err();
            assert_eq!(error["code"], -32602);
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
        }
    }
}
