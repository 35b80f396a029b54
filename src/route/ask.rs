//! Whether a child's request may go to a client, and in which form. Pure.
//!
//! Source of the refusals: MCP 2025-11-25, client features, "Error Handling" of sampling, elicitation and roots.

use std::borrow::Cow;

use super::client::Profile;
use super::project;
use crate::ids::ServerName;
use crate::rpc::mcp::{Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Raw, RpcError};

/// Whether this is a request that only a client can answer.
pub fn is_for_clients(asked: &str) -> bool {
    matches!(asked, method::SAMPLE | method::ELICIT | method::ROOTS_LIST)
}

/// The parameters as the client gets them.
///
/// # Errors
/// What the child hears instead: the client cannot do this.
pub fn for_client(
    server: &ServerName,
    asked: &str,
    params: Option<&Raw>,
    client: &Profile,
) -> Result<Option<Raw>, RpcError> {
    match asked {
        method::SAMPLE => sampling(params, client),
        method::ELICIT => elicitation(server, params, client),
        method::ROOTS_LIST => roots(params, client),
        unknown => Err(RpcError::unknown_method(unknown)),
    }
}

/// What a client has to declare to be asked this, as in its capabilities.
pub fn needed(asked: &str, params: Option<&Raw>) -> Raw {
    let object = params.and_then(Object::of);
    let has = |key| object.as_ref().is_some_and(|params| params.get(key).is_some());
    let mode = object.as_ref().and_then(|params| params.get_string("mode"));
    let needed = match asked {
        method::SAMPLE if has("tools") || has("toolChoice") => {
            serde_json::json!({ "sampling": { "tools": {} } })
        }
        method::SAMPLE => serde_json::json!({ "sampling": {} }),
        method::ELICIT if mode.as_deref() == Some("url") => {
            serde_json::json!({ "elicitation": { "url": {} } })
        }
        method::ELICIT => serde_json::json!({ "elicitation": { "form": {} } }),
        _roots => serde_json::json!({ "roots": {} }),
    };
    Raw::of(&needed)
}

fn sampling(params: Option<&Raw>, client: &Profile) -> Result<Option<Raw>, RpcError> {
    client
        .capability("sampling")
        .ok_or_else(|| unsupported(method::SAMPLE))?;
    let object = params.and_then(Object::of);
    let has_tools = object.as_ref().is_some_and(|params| {
        ["tools", "toolChoice"]
            .iter()
            .any(|key| params.get(key).is_some())
    });
    let can_tools =
        client.revision >= Revision::V2025_11_25 && client.capability_part("sampling", "tools").is_some();
    if has_tools && !can_tools {
        return Err(RpcError::invalid_params(
            "the client does not support sampling with tools",
        ));
    }
    let asked = params.map(|params| project::sampling_for(client.revision, can_tools, params));
    let asked = asked.transpose().map_err(RpcError::invalid_params)?;
    Ok(asked.map(Cow::into_owned))
}

fn elicitation(server: &ServerName, params: Option<&Raw>, client: &Profile) -> Result<Option<Raw>, RpcError> {
    let capability = client
        .capability("elicitation")
        .ok_or_else(|| unsupported(method::ELICIT))?;
    let object = params.and_then(Object::of);
    let object =
        object.ok_or_else(|| RpcError::invalid_params("`params` of elicitation/create must be an object"))?;
    let mode = object.get_string("mode").unwrap_or_else(|| "form".to_owned());
    let declared = Object::of(&capability);
    // `{}` means forms: that was all there was in 2025-06-18.
    let has_modes = declared
        .as_ref()
        .is_some_and(|modes| modes.get("form").is_some() || modes.get("url").is_some());
    let can = match mode.as_str() {
        "form" => !has_modes || client.capability_part("elicitation", "form").is_some(),
        "url" => {
            client.revision >= Revision::V2025_11_25 && client.capability_part("elicitation", "url").is_some()
        }
        _unknown => false,
    };
    if !can {
        return Err(RpcError::invalid_params(format!(
            "the client does not support elicitation of mode `{mode}`"
        )));
    }
    let stamped = stamped(server, &object)?;
    if client.revision >= Revision::V2025_11_25 {
        return Ok(Some(stamped));
    }
    project::form_of_2025_06_18(&stamped)
        .map(Some)
        .map_err(RpcError::invalid_params)
}

/// "Clients MUST make clear which server asks", and behind us they see only one: so the message says it.
fn stamped(server: &ServerName, object: &Object<'_>) -> Result<Raw, RpcError> {
    let message = object.get("message").unwrap_or_else(|| Raw::of(&""));
    let message = message
        .prefixed(&format!("[{server}] "))
        .ok_or_else(|| RpcError::invalid_params("`message` of elicitation/create must be a string"))?;
    Ok(object.with("message", &message))
}

fn roots(params: Option<&Raw>, client: &Profile) -> Result<Option<Raw>, RpcError> {
    client
        .capability("roots")
        .ok_or_else(|| unsupported(method::ROOTS_LIST))?;
    Ok(params.cloned())
}

fn unsupported(asked: &str) -> RpcError {
    let what = asked.split('/').next().unwrap_or(asked);
    RpcError::new(
        crate::rpc::error::code::METHOD_NOT_FOUND,
        format!("the client does not support {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::error::code;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn a_stamp_keeps_every_byte_of_the_message() {
        let server = ServerName::parse("a").unwrap();
        let after = |params: &str| {
            let params = raw(params);
            let with_stamp = stamped(&server, &Object::of(&params).unwrap());
            with_stamp.map(|params| params.as_str().to_owned())
        };
        assert_eq!(
            after(r#"{"message": "\ud800\u0061\/" ,"n":1.0}"#).unwrap(),
            r#"{"message": "[a] \ud800\u0061\/" ,"n":1.0}"#
        );
        assert_eq!(after("{}").unwrap(), r#"{"message":"[a] "}"#);
        let refused = after(r#"{"message":7}"#).unwrap_err();
        assert_eq!(refused.code, code::INVALID_PARAMS);
    }

    fn ask(asked: &str, params: &str, capabilities: &str, revision: Revision) -> Result<String, i64> {
        let client = Profile {
            revision,
            client_info: None,
            capabilities: raw(capabilities),
            log_level: None,
        };
        let server = ServerName::parse("git").unwrap();
        for_client(&server, asked, Some(&raw(params)), &client)
            .map(|params| params.unwrap().as_str().to_owned())
            .map_err(|error| error.code)
    }

    const NEW: Revision = Revision::V2025_11_25;
    const FORM: &str = r#"{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}"#;
    const URL: &str = r#"{"mode":"url","message":"Log in","url":"https://x.example","elicitationId":"e"}"#;

    #[test]
    fn a_client_gets_what_it_can_do_and_sees_who_asks() {
        let asked = ask(method::ELICIT, FORM, r#"{"elicitation":{}}"#, NEW).unwrap();
        assert_eq!(asked, FORM.replace("Sure?", "[git] Sure?"));
        assert!(ask(method::ELICIT, URL, r#"{"elicitation":{"url":{}}}"#, NEW).is_ok());
        assert_eq!(
            ask(method::SAMPLE, r#"{"x":1e400}"#, r#"{"sampling":{}}"#, NEW).unwrap(),
            r#"{"x":1e400}"#
        );
        assert!(ask(method::ROOTS_LIST, "{}", r#"{"roots":{}}"#, NEW).is_ok());
        assert!(
            ask(
                method::SAMPLE,
                r#"{"tools":[]}"#,
                r#"{"sampling":{"tools":{}}}"#,
                NEW
            )
            .is_ok()
        );
    }

    #[test]
    fn a_client_is_not_asked_what_it_cannot_do() {
        for asked in [method::ELICIT, method::SAMPLE, method::ROOTS_LIST] {
            assert_eq!(
                ask(asked, FORM, "{}", NEW),
                Err(code::METHOD_NOT_FOUND),
                "{asked}"
            );
        }
        for (params, capabilities, revision) in [
            (URL, r#"{"elicitation":{}}"#, NEW),
            (URL, r#"{"elicitation":{"form":{}}}"#, NEW),
            (URL, r#"{"elicitation":{"url":{}}}"#, Revision::V2025_06_18),
            (FORM, r#"{"elicitation":{"url":{}}}"#, NEW),
        ] {
            assert_eq!(
                ask(method::ELICIT, params, capabilities, revision),
                Err(code::INVALID_PARAMS),
                "{params}"
            );
        }
        assert_eq!(
            ask(method::SAMPLE, r#"{"tools":[]}"#, r#"{"sampling":{}}"#, NEW),
            Err(code::INVALID_PARAMS)
        );
    }
}
