//! Errors of ours as a client sees them: a code, a sentence, and data for programs.
//!
//! `Busy`, `NotRunning`, `Gone` and `TimedOut` stay apart to the very end: the client's best next step differs.

use std::time::Duration;

use serde_json::json;

use crate::child::CallError;
use crate::event::{Cause, Exit};
use crate::ids::ServerName;
use crate::route::RouteError;
use crate::rpc::RpcError;
use crate::rpc::error::code;

/// The error of a request that reached no child or got no answer of one.
pub fn to_rpc(error: &RouteError) -> RpcError {
    let text = error.to_string();
    match error {
        RouteError::BadParams(_) => RpcError::invalid_params(text),
        RouteError::Unknown { .. } => RpcError::invalid_params(text),
        RouteError::NoResource { uri } => {
            RpcError::new(code::RESOURCE_NOT_FOUND, text).with_data(json!({ "uri": uri }))
        }
        RouteError::NotOffered { .. } => RpcError::new(code::METHOD_NOT_FOUND, text),
        RouteError::NoInstance { server, .. } => {
            let data = json!({ "source": "mcp-wrapper", "server": server, "reason": "overloaded" });
            RpcError::new(code::OVERLOADED, text).with_data(data)
        }
        RouteError::NoTask => RpcError::invalid_params(text),
        RouteError::Cancelled => RpcError::new(code::INTERNAL_ERROR, text),
        RouteError::TooManyTasks { .. } => {
            let data = json!({ "source": "mcp-wrapper", "reason": "overloaded" });
            RpcError::new(code::OVERLOADED, text).with_data(data)
        }
        RouteError::Child { server, error } => of_child(server, error, text),
    }
}

/// The error of a call that was in flight when the daemon ended.
pub fn lost_in_a_restart() -> RpcError {
    let text =
        "mcp-wrapper was restarted while this request was in flight; whether it was carried out is not known";
    let data =
        json!({ "source": "mcp-wrapper", "reason": "daemon_restarted", "sent": true, "retryable": false });
    RpcError::new(code::SHUTTING_DOWN, text).with_data(data)
}

fn of_child(server: &ServerName, error: &CallError, text: String) -> RpcError {
    let mut data = json!({ "source": "mcp-wrapper", "server": server, "reason": reason(error) });
    let mut put = |key: &str, value: serde_json::Value| {
        if let Some(object) = data.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    };
    let advice = match error {
        CallError::Gone {
            cause,
            sent,
            retry_after,
        } => {
            put("sent", json!(sent));
            put("retryable", json!(!sent));
            if let Some(exit) = exit_of(cause) {
                put("exit", json!(exit.to_string()));
            }
            if let Some(after) = retry_after {
                put("retryAfterMs", json!(millis(*after)));
            }
            let again = if retry_after.is_some() {
                "it is started again; "
            } else {
                ""
            };
            format!("{again}`mcpctl why {server}` tells what happened")
        }
        CallError::NotRunning { retry_after, .. } => {
            if let Some(after) = retry_after {
                put("retryAfterMs", json!(millis(*after)));
            }
            format!("`mcpctl why {server}` tells more")
        }
        CallError::CannotStart { .. } => format!("`mcpctl why {server}` tells what to try"),
        CallError::TimedOut { .. } => {
            "the server works on it too long; `call_timeout` sets the limit".to_owned()
        }
        CallError::Overloaded { .. } => {
            put("retryAfterMs", json!(1000));
            "try again later; `queue_max` sets the limit".to_owned()
        }
        CallError::TooLarge { .. } => "`message_bytes_max` sets the limit".to_owned(),
        CallError::BadAnswer { .. } => "this is the server's fault".to_owned(),
        CallError::OtherProcess => format!("`mcpctl why {server}` tells what happened"),
        CallError::Cancelled => "the client asked for it".to_owned(),
        CallError::ShuttingDown => {
            put("retryAfterMs", json!(2000));
            "try again in a moment".to_owned()
        }
    };
    RpcError::new(code_of(error), format!("{text}; {advice}")).with_data(data)
}

/// The code under which a call is refused that a child does not take.
pub fn refusal_code(error: &CallError) -> i64 {
    code_of(error)
}

fn code_of(error: &CallError) -> i64 {
    match error {
        CallError::Gone { .. } | CallError::OtherProcess => code::CHILD_EXITED,
        CallError::TimedOut { .. } => code::CALL_TIMEOUT,
        CallError::NotRunning { .. } => code::CHILD_UNAVAILABLE,
        CallError::CannotStart { .. } => code::START_FAILED,
        CallError::Overloaded { .. } => code::OVERLOADED,
        CallError::TooLarge { .. } => code::MESSAGE_TOO_LARGE,
        CallError::BadAnswer { .. } => code::BAD_CHILD_MESSAGE,
        CallError::Cancelled => code::INTERNAL_ERROR,
        CallError::ShuttingDown => code::SHUTTING_DOWN,
    }
}

fn reason(error: &CallError) -> &'static str {
    match error {
        CallError::Gone { .. } | CallError::OtherProcess => "child_exited",
        CallError::TimedOut { .. } => "call_timeout",
        CallError::NotRunning { .. } => "child_unavailable",
        CallError::CannotStart { .. } => "start_failed",
        CallError::Overloaded { .. } => "overloaded",
        CallError::TooLarge { .. } => "message_too_large",
        CallError::BadAnswer { .. } => "bad_child_message",
        CallError::Cancelled => "cancelled",
        CallError::ShuttingDown => "shutting_down",
    }
}

fn exit_of(cause: &Cause) -> Option<Exit> {
    match cause {
        Cause::Exited { exit } | Cause::ExitedInHandshake { exit } => Some(*exit),
        Cause::Asked
        | Cause::OtherEra
        | Cause::Idle
        | Cause::ShuttingDown
        | Cause::CannotStart { .. }
        | Cause::NoResources { .. }
        | Cause::NoHandshake { .. }
        | Cause::BadHandshake { .. }
        | Cause::StdoutClosed
        | Cause::Garbled { .. }
        | Cause::WriteStalled
        | Cause::Unresponsive
        | Cause::Memory { .. }
        | Cause::TooManyProcesses { .. }
        | Cause::Unkillable { .. }
        | Cause::Panicked { .. } => None,
    }
}

/// The error of a request whose client took it back, where an HTTP exchange must end somehow.
pub fn cancelled() -> RpcError {
    let data = json!({ "source": "mcp-wrapper", "reason": "cancelled" });
    RpcError::new(code::INTERNAL_ERROR, "the request was cancelled").with_data(data)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_child_is_told_with_its_exit_and_whether_the_request_was_sent() {
        let error = CallError::Gone {
            cause: Cause::Exited {
                exit: Exit::Signal(9),
            },
            sent: true,
            retry_after: Some(Duration::from_millis(250)),
        };
        let told = to_rpc(&RouteError::Child {
            server: ServerName::parse("git").unwrap(),
            error,
        });
        assert_eq!(told.code, 1001);
        assert!(
            told.message
                .starts_with("server `git`: the process ended by itself (signal 9 (SIGKILL))"),
            "{}",
            told.message
        );
        let data = told.data.unwrap();
        assert_eq!(data["source"], "mcp-wrapper");
        assert_eq!(data["exit"], "signal 9 (SIGKILL)");
        assert_eq!(
            (&data["sent"], &data["retryAfterMs"]),
            (&json!(true), &json!(250))
        );
    }

    #[test]
    fn every_way_to_fail_has_its_own_code() {
        let patience = Duration::from_secs(60);
        let all = [
            CallError::Gone {
                cause: Cause::Asked,
                sent: false,
                retry_after: None,
            },
            CallError::TimedOut { patience },
            CallError::NotRunning {
                state: "failed",
                cause: None,
                retry_after: None,
            },
            CallError::CannotStart { why: "x".to_owned() },
            CallError::Overloaded { n_max: 1 },
            CallError::TooLarge {
                n_bytes: 2,
                n_bytes_max: 1,
            },
            CallError::BadAnswer { why: "x".to_owned() },
            CallError::ShuttingDown,
        ];
        let codes: std::collections::BTreeSet<i64> = all.iter().map(code_of).collect();
        assert_eq!(codes.len(), all.len());
        assert!(codes.iter().all(|code| (1001..=1009).contains(code)));
    }
}
