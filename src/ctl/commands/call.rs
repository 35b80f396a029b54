//! `mcpctl call TOOL [JSON|-]`.

use std::io::Read;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{CallAnswer, CallRequest};
use crate::ctl::args::CallArgs;
use crate::ctl::client::Patience;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ctl::text::{escaped, escaped_lines, indented_json};

/// Longest arguments from stdin, bytes.
const ARGUMENTS_BYTES_MAX: u64 = 64 << 20;

/// The parts of a tool's result that we look at; the rest stays as it is.
#[derive(Deserialize)]
struct ToolResult<'a> {
    #[serde(borrow, default)]
    content: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "structuredContent")]
    structured: Option<&'a RawValue>,
    #[serde(default, rename = "isError")]
    is_error: bool,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Deserialize)]
struct RpcError<'a> {
    code: i64,
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Calls a tool and prints what it returns. Waits until it does, or until Ctrl-C.
pub(super) async fn run(args: &CallArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let arguments = arguments(args)?;
    let request = CallRequest {
        tool: args.tool.clone(),
        arguments,
    };
    let answer: CallAnswer = context
        .client
        .post("/api/call", &request, Patience::Endless)
        .await?;
    out.json(&answer)?;
    match (&answer.result, &answer.error) {
        (_, Some(error)) if out.is_json() => {
            out.remark(&format!("mcpctl: {}", error_text(error.get())));
            Err(Failure::Told)
        }
        (_, Some(error)) => Err(Failure::Refused(error_text(error.get()))),
        (Some(result), None) => {
            let (text, is_error) = result_text(result.get());
            out.say(&text)?;
            if is_error { Err(Failure::Told) } else { Ok(()) }
        }
        (None, None) => Err(Failure::Refused(
            "the daemon answered with neither a result nor an error".to_owned(),
        )),
    }
}

fn arguments(args: &CallArgs) -> Result<Box<RawValue>, Failure> {
    let text = if args.arguments == "-" {
        from_stdin()?
    } else {
        args.arguments.clone()
    };
    let example = format!("for example: mcpctl call {} '{{\"key\": \"value\"}}'", args.tool);
    match RawValue::from_string(text.trim().to_owned()) {
        Ok(value) if value.get().starts_with('{') => Ok(value),
        Ok(_) => Err(Failure::Usage(format!(
            "the arguments must be a JSON object, {example}"
        ))),
        Err(error) => Err(Failure::Usage(format!(
            "the arguments are no JSON ({error}); {example}"
        ))),
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(ARGUMENTS_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Refused(format!("the arguments cannot be read from stdin: {error}")))?;
    Ok(text)
}

/// A result for people, and whether it is a failure.
fn result_text(raw: &str) -> (String, bool) {
    let Ok(result) = serde_json::from_str::<ToolResult<'_>>(raw) else {
        return (indented_json(raw), false);
    };
    if result.content.is_empty() {
        let whole = result.structured.map_or(raw, RawValue::get);
        return (indented_json(whole), result.is_error);
    }
    let items: Vec<String> = result.content.iter().map(|item| item_text(item.get())).collect();
    (items.join("\n"), result.is_error)
}

fn item_text(raw: &str) -> String {
    match serde_json::from_str::<Item>(raw) {
        Ok(Item {
            kind,
            text: Some(text),
        }) if kind == "text" => escaped_lines(&text),
        Ok(_) | Err(_) => indented_json(raw),
    }
}

fn error_text(raw: &str) -> String {
    match serde_json::from_str::<RpcError<'_>>(raw) {
        Ok(RpcError { code, message, data }) => {
            let data = data
                .map(|data| format!("\n{}", indented_json(data.get())))
                .unwrap_or_default();
            format!("{} (error {code}){data}", escaped(&message))
        }
        Err(_) => indented_json(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &str) -> Result<Box<RawValue>, Failure> {
        super::arguments(&CallArgs {
            tool: "t".to_owned(),
            arguments: arguments.to_owned(),
        })
    }

    #[test]
    fn arguments_go_out_as_they_were_typed() {
        let text = r#"{"b": 9007199254740993, "a": 1e400, "b": null}"#;
        assert_eq!(given(text).unwrap().get(), text);
    }

    #[test]
    fn arguments_that_are_no_object_are_a_usage_error() {
        for text in ["[1]", "{", "", "x", "\"{\""] {
            let told = given(text).unwrap_err();
            assert_eq!(told.exit_code(), 2, "{text}");
            assert!(told.to_string().contains("mcpctl call t"), "{told}");
        }
    }

    #[test]
    fn texts_are_printed_as_texts_and_the_rest_as_json() {
        let raw = r#"{"content":[{"type":"text","text":"a\nb\u001b[2J"},{"type":"image","data":"x"}]}"#;
        let (text, is_error) = result_text(raw);
        assert_eq!(
            text,
            "a\nb\\x1b[2J\n{\n  \"type\": \"image\",\n  \"data\": \"x\"\n}"
        );
        assert!(!is_error);
    }

    #[test]
    fn a_result_without_content_shows_its_structure_unchanged() {
        let (text, is_error) =
            result_text(r#"{"structuredContent":{"z":1e400,"a":9007199254740993},"isError":true}"#);
        assert_eq!(text, "{\n  \"z\": 1e400,\n  \"a\": 9007199254740993\n}");
        assert!(is_error);
    }

    #[test]
    fn an_error_is_a_sentence_with_its_code() {
        let text = error_text(r#"{"code":1002,"message":"git is down","data":{"server":"git"}}"#);
        assert_eq!(text, "git is down (error 1002)\n{\n  \"server\": \"git\"\n}");
    }
}
