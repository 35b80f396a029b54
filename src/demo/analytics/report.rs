//! The tool `costly_report`: past days of one department, after a person agreed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::department::{BRANCHES, Department, Figures};
use super::event::{READINGS_PER_DAY, branch_of, live_figures};
use super::offer;
use super::settings::Settings;
use crate::demo::arguments::{flag, refuse_unknown, whole_number};
use crate::demo::call::Call;
use crate::demo::calls::{Said, Stopped};
use crate::demo::outcome::{failure, remark, success};
use crate::demo::server::{Params, Work};
use crate::demo::words::{Word, words};

/// How far back the archive goes.
pub(super) const DAYS_MAX: u64 = 365;

/// The archive is read in so many parts at most, and each of them is told as progress.
const PARTS_MAX: u64 = 20;

/// How long the archive takes for one part: it stands for the slow warehouse of a real chain.
const PART_TIME: Duration = Duration::from_millis(20);

/// The past is another story than the present, told from the same seed.
const ARCHIVE: u64 = 0x5eed_0fa1_5c1e;

words! {
    /// How much a report tells.
    Detail { Totals = "totals", ByBranch = "by_branch" }
}

/// What was asked for.
#[derive(Debug, Clone)]
struct Order {
    seed: u64,
    department: Department,
    days: u64,
    confirmed: bool,
}

/// What the person decided.
#[derive(Debug, PartialEq)]
enum Decision {
    Go(Detail),
    Declined,
    Dismissed,
    /// Nobody decided: why, as a sentence.
    Unknown(String),
}

pub(super) fn work(settings: &Settings, arguments: &Params) -> Work {
    let order = Order::read(settings, arguments);
    Box::new(move |call| match order {
        Ok(order) => order.carry_out(call),
        Err(why) => Ok(failure(&why)),
    })
}

impl Order {
    fn read(settings: &Settings, arguments: &Params) -> Result<Self, String> {
        refuse_unknown(arguments, &["department", "days", "confirmed"])?;
        Ok(Self {
            seed: settings.seed ^ ARCHIVE,
            department: offer::required_department(settings, arguments)?,
            days: whole_number(arguments, "days", 1..=DAYS_MAX)?.ok_or_else(|| {
                format!("`days` is missing. Say how many days the report shall cover, from 1 to {DAYS_MAX}.")
            })?,
            confirmed: flag(arguments, "confirmed")?.unwrap_or(false),
        })
    }

    fn carry_out(&self, call: &mut Call) -> Result<Value, Stopped> {
        Ok(match self.decide(call)? {
            Decision::Go(detail) => self.report(detail, call)?,
            Decision::Declined => remark("All right: no report was made, because the question was declined."),
            Decision::Dismissed => {
                remark("No report was made: the question was closed without an answer. Ask again any time.")
            }
            Decision::Unknown(why) => failure(&format!(
                "The report is costly and needs a person's agreement, but {why}. Ask the person, and call again \
                 with `confirmed` set to true."
            )),
        })
    }

    /// Asks the person where that is possible; `confirmed` stands in where it is not.
    fn decide(&self, call: &mut Call) -> Result<Decision, Stopped> {
        let decision = if call.shows_forms() {
            read_decision(&call.ask_form(&self.question(), &form())?)
        } else {
            Decision::Unknown("this client cannot ask one (it did not declare `elicitation`)".to_owned())
        };
        let unasked = matches!(decision, Decision::Unknown(_));
        Ok(if unasked && self.confirmed {
            Decision::Go(Detail::Totals)
        } else {
            decision
        })
    }

    fn question(&self) -> String {
        let readings = self.days * READINGS_PER_DAY;
        format!(
            "A report on {} over {} reads {readings} records from the archive. Shall it be made?",
            self.department.as_str(),
            days(self.days)
        )
    }

    fn report(&self, detail: Detail, call: &mut Call) -> Result<Value, Stopped> {
        let mut sums = Sums::new(self.department);
        let parts = self.days.min(PARTS_MAX);
        for part in 1..=parts {
            call.pause(PART_TIME)?;
            let (from, to) = (self.days * (part - 1) / parts, self.days * part / parts);
            for reading in from * READINGS_PER_DAY..to * READINGS_PER_DAY {
                sums.add(
                    branch_of(reading),
                    &live_figures(self.seed, self.department, reading),
                );
            }
            call.progress(to, self.days, &format!("{to} of {} read", days(self.days)));
        }
        Ok(self.tell(&sums, detail))
    }

    fn tell(&self, sums: &Sums, detail: Detail) -> Value {
        let (name, all) = (self.department.as_str(), sums.all());
        let mut text = format!("{name} over {}: {}", days(self.days), all.line());
        let mut structured = Map::from_iter([
            ("department".to_owned(), json!(self.department)),
            ("days".to_owned(), json!(self.days)),
            ("detail".to_owned(), json!(detail)),
            ("totals".to_owned(), all.to_json()),
        ]);
        if detail == Detail::ByBranch {
            for (branch, sum) in &sums.branches {
                text.push_str(&format!("\n{branch}: {}", sum.line()));
            }
            let branches: Map<String, Value> = sums
                .branches
                .iter()
                .map(|(branch, sum)| ((*branch).to_owned(), sum.to_json()))
                .collect();
            structured.insert("by_branch".to_owned(), branches.into());
        }
        success(&text, &structured)
    }
}

fn days(days: u64) -> String {
    if days == 1 {
        "1 day".to_owned()
    } else {
        format!("{days} days")
    }
}

/// The form that the person fills in.
fn form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "confirm": { "type": "boolean", "title": "Make the report", "default": false },
            "detail": { "type": "string", "title": "Detail", "enum": Detail::words(), "default": "totals" },
        },
        "required": ["confirm"],
    })
}

/// Source: MCP 2025-11-25, elicitation, "Response Actions".
fn read_decision(said: &Said) -> Decision {
    let answer = match said {
        Ok(answer) => answer,
        Err(why) => return Decision::Unknown(format!("the question was not answered: {why}")),
    };
    let content = &answer["content"];
    match answer["action"].as_str() {
        Some("decline") => Decision::Declined,
        Some("cancel") => Decision::Dismissed,
        Some("accept") if content["confirm"] == false => Decision::Declined,
        Some("accept") if content["confirm"] == true => read_detail(&content["detail"]),
        Some(_) | None => Decision::Unknown("the answer does not fit the form".to_owned()),
    }
}

fn read_detail(detail: &Value) -> Decision {
    if detail.is_null() {
        return Decision::Go(Detail::Totals);
    }
    match detail.as_str().and_then(Detail::parse) {
        Some(detail) => Decision::Go(detail),
        None => Decision::Unknown(format!("{detail} is not a `detail` of the form")),
    }
}

/// The readings so far, by branch.
#[derive(Debug)]
struct Sums {
    department: Department,
    branches: Vec<(&'static str, Sum)>,
}

#[derive(Debug, Clone)]
struct Sum {
    measures: [&'static str; 2],
    readings: u64,
    sums: [u64; 2],
}

impl Sums {
    fn new(department: Department) -> Self {
        Self {
            department,
            branches: BRANCHES.map(|branch| (branch, Sum::new(department))).to_vec(),
        }
    }

    fn add(&mut self, branch: &str, [(_, first), (_, second)]: &Figures) {
        if let Some((_, sum)) = self.branches.iter_mut().find(|(name, _)| *name == branch) {
            sum.join(&Sum {
                measures: sum.measures,
                readings: 1,
                sums: [*first, *second],
            });
        }
    }

    fn all(&self) -> Sum {
        let mut all = Sum::new(self.department);
        self.branches.iter().for_each(|(_, sum)| all.join(sum));
        all
    }
}

impl Sum {
    fn new(department: Department) -> Self {
        Self {
            measures: department.measures(),
            readings: 0,
            sums: [0, 0],
        }
    }

    fn join(&mut self, other: &Self) {
        let ([a, b], [c, d]) = (self.sums, other.sums);
        self.sums = [a + c, b + d];
        self.readings += other.readings;
    }

    /// Per quarter of an hour, rounded down.
    fn means(&self) -> [u64; 2] {
        self.sums.map(|sum| sum.checked_div(self.readings).unwrap_or(0))
    }

    fn line(&self) -> String {
        let ([first, second], [one, two]) = (self.measures, self.means());
        format!(
            "{} readings, on average {first} {one} and {second} {two}",
            self.readings
        )
    }

    fn to_json(&self) -> Value {
        let named = |values: [u64; 2]| -> Map<String, Value> {
            let names = self.measures.iter().map(|name| (*name).to_owned());
            names.zip(values.map(Value::from)).collect()
        };
        json!({ "readings": self.readings, "sum": named(self.sums), "mean": named(self.means()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::talk::Talk;
    use super::super::talking::{talk, talk_as, text};
    use super::*;

    fn forms() -> Talk {
        talk_as(json!({ "elicitation": { "form": {} } }))
    }

    /// Orders a report, and returns the question.
    fn order(talk: &mut Talk, confirmed: bool) -> Value {
        let arguments = json!({ "department": "sales", "days": 40, "confirmed": confirmed });
        let params =
            json!({ "name": "costly_report", "arguments": arguments, "_meta": { "progressToken": "r" } });
        talk.request(json!("report"), "tools/call", params);
        talk.hear()
    }

    /// Says this to the question, and returns what is heard up to the answer, and the answer.
    fn say(talk: &mut Talk, question: &Value, key: &str, said: &Value) -> (Vec<Value>, Value) {
        talk.say(&json!({ "jsonrpc": "2.0", "id": question["id"], key: said }));
        let (told, mut answer) = talk.hear_until(|message| message["id"] == "report");
        (told, answer["result"].take())
    }

    #[test]
    fn it_asks_with_a_form_and_works_when_the_person_agrees() {
        let mut talk = forms();
        let question = order(&mut talk, false);
        assert_eq!(question["method"], "elicitation/create");
        let params = &question["params"];
        assert_eq!(params["mode"], "form");
        assert_eq!(
            params["message"],
            "A report on sales over 40 days reads 1920 records from the archive. Shall it be made?"
        );
        let properties = &params["requestedSchema"]["properties"];
        assert_eq!(properties["confirm"]["type"], "boolean");
        assert_eq!(properties["detail"]["enum"], json!(["totals", "by_branch"]));
        let agreed = json!({ "action": "accept", "content": { "confirm": true, "detail": "by_branch" } });
        let (told, result) = say(&mut talk, &question, "result", &agreed);
        let progress: Vec<u64> = told
            .iter()
            .map(|told| told["params"]["progress"].as_u64().unwrap())
            .collect();
        assert_eq!(progress, (1..=20).map(|n| n * 2).collect::<Vec<u64>>());
        assert_eq!(told[0]["params"]["message"], "2 of 40 days read");
        let structured = &result["structuredContent"];
        assert_eq!(structured["totals"]["readings"], 1920);
        let by_branch = structured["by_branch"].as_object().unwrap();
        let sums: u64 = by_branch
            .values()
            .map(|branch| branch["sum"]["orders"].as_u64().unwrap())
            .sum();
        assert_eq!(structured["totals"]["sum"]["orders"], sums);
        assert_eq!(text(&result).lines().count(), 5);
        assert!(result.get("isError").is_none());
    }

    #[test]
    fn a_no_is_no_error_and_no_report() {
        for (said, told) in [
            (json!({ "action": "decline" }), "declined"),
            (
                json!({ "action": "accept", "content": { "confirm": false } }),
                "declined",
            ),
            (json!({ "action": "cancel" }), "closed without an answer"),
        ] {
            let mut talk = forms();
            // Who can be asked, is asked: what the model claims does not count.
            let question = order(&mut talk, true);
            let (progress, result) = say(&mut talk, &question, "result", &said);
            assert_eq!(progress, Vec::<Value>::new());
            assert!(result.get("isError").is_none() && result.get("structuredContent").is_none());
            assert!(text(&result).contains(told), "{result}");
        }
    }

    #[test]
    fn an_answer_that_says_nothing_is_an_error_that_says_so() {
        for (key, said, told) in [
            (
                "error",
                json!({ "code": -32600, "message": "no such window" }),
                "no such window",
            ),
            ("result", json!({ "action": "accept" }), "does not fit the form"),
            ("result", json!({}), "does not fit the form"),
            (
                "result",
                json!({ "action": "accept", "content": { "confirm": true, "detail": "all" } }),
                "\"all\" is not a `detail`",
            ),
        ] {
            let mut talk = forms();
            let question = order(&mut talk, false);
            let (_, result) = say(&mut talk, &question, key, &said);
            assert_eq!(result["isError"], true);
            assert!(text(&result).contains(told), "{result}");
        }
        let mut talk = forms();
        let question = order(&mut talk, true);
        let refused = json!({ "code": -32600, "message": "no" });
        let (_, result) = say(&mut talk, &question, "error", &refused);
        assert_eq!(
            result["structuredContent"]["detail"], "totals",
            "nobody could be asked after all"
        );
    }

    #[test]
    fn where_nobody_can_be_asked_the_model_must_say_that_somebody_agreed() {
        for capabilities in [json!({}), json!({ "elicitation": { "url": {} } })] {
            let mut talk = talk_as(capabilities);
            let refused = talk.call("costly_report", json!({ "department": "shifts", "days": 1 }));
            assert_eq!(refused["isError"], true);
            assert!(text(&refused).contains("`confirmed` set to true"));
            let arguments = json!({ "department": "shifts", "days": 1, "confirmed": true });
            let made = talk.call("costly_report", arguments);
            assert_eq!(made["structuredContent"]["totals"]["readings"], 48);
        }
    }

    #[test]
    fn the_form_mode_is_said_only_where_the_word_exists() {
        let server = super::super::Analytics::new(Settings::default());
        let mut talk = Talk::hello(server, "2025-06-18", json!({ "elicitation": {} }));
        assert!(order(&mut talk, false)["params"].get("mode").is_none());
    }

    #[test]
    fn a_cancelled_order_withdraws_its_question_and_gets_no_answer() {
        let mut talk = forms();
        let question = order(&mut talk, false);
        talk.cancel(json!("report"));
        let withdrawn = talk.hear();
        assert_eq!(
            (&withdrawn["method"], &withdrawn["params"]["requestId"]),
            (&json!("notifications/cancelled"), &question["id"])
        );
        let late = json!({ "action": "accept", "content": { "confirm": true } });
        talk.say(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": late }));
        talk.request(json!("next"), "ping", json!({}));
        assert_eq!(talk.hear()["id"], "next");
        talk.hang_up().unwrap();
        assert_eq!(talk.rest(), Vec::<Value>::new());
    }

    #[test]
    fn two_questions_are_open_at_once_and_each_answer_finds_its_order() {
        let mut talk = forms();
        for (id, days) in [(1, 1), (2, 2)] {
            talk.tool(
                json!(id),
                "costly_report",
                json!({ "department": "sales", "days": days }),
            );
        }
        let (one, two) = (talk.hear(), talk.hear());
        assert_ne!(one["id"], two["id"]);
        let about = |question: &Value| {
            question["params"]["message"]
                .as_str()
                .unwrap()
                .contains("over 1 day ")
        };
        let (first, second) = if about(&one) { (one, two) } else { (two, one) };
        talk.say(&json!({ "jsonrpc": "2.0", "id": second["id"], "result": { "action": "decline" } }));
        let answer = talk.hear();
        assert_eq!(answer["id"], 2);
        talk.say(&json!({ "jsonrpc": "2.0", "id": first["id"], "result": { "action": "cancel" } }));
        assert_eq!(talk.hear()["id"], 1);
    }

    #[test]
    fn equal_seeds_report_the_same() {
        let arguments = json!({ "department": "occupancy", "days": 3, "confirmed": true });
        assert_eq!(
            talk().call("costly_report", arguments.clone()),
            talk().call("costly_report", arguments)
        );
    }
}
