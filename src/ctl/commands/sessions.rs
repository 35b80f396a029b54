//! `mcpctl sessions`.

use crate::api::{Connected, SessionStatus};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::text::duration;
use crate::ctl::words;

/// Shows who is connected.
pub(super) async fn run(context: &Context, out: &mut Out) -> Result<(), Failure> {
    let connected: Connected = context.client.get("/api/sessions").await?;
    let text = text(&connected, out.look());
    Ok(out.either(&connected, &text)?)
}

fn text(connected: &Connected, look: Look) -> String {
    let mut text = if connected.sessions.is_empty() {
        "No sessions.\n".to_owned()
    } else {
        table(&connected.sessions, look)
    };
    if connected.n_requests_without > 0 {
        let n = words::counted(connected.n_requests_without, "request");
        text.push_str(&format!(
            "Without a session (2026-07-28 over HTTP): {n} in flight.\n"
        ));
    }
    text
}

fn table(sessions: &[SessionStatus], look: Look) -> String {
    let mut table = Table::new(&[
        "SESSION", "CLIENT", "DOOR", "SPEAKS", "OPEN", "IDLE", "CALLS", "STREAMS",
    ]);
    for session in sessions {
        let idle = match session.idle_ms {
            0 => "-".to_owned(),
            ms => duration(ms),
        };
        table.row(&[
            &session.id,
            session.client.as_deref().unwrap_or("-"),
            &session.door,
            session.revision.as_deref().unwrap_or("-"),
            &duration(session.age_ms),
            &idle,
            &session.n_inflight.to_string(),
            &session.n_streams.to_string(),
        ]);
    }
    table.text(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_is_told_and_what_clients_say_of_themselves_is_harmless() {
        let session = SessionStatus {
            id: "18b004d7".to_owned(),
            door: "stdio".to_owned(),
            client: Some("claude\x1b]0;x\x07 1.2".to_owned()),
            revision: Some("2025-11-25".to_owned()),
            age_ms: 65_000,
            idle_ms: 0,
            n_inflight: 2,
            n_streams: 1,
        };
        let mut connected = Connected {
            sessions: vec![session],
            n_requests_without: 1,
        };
        let plain = Look {
            width: None,
            colour: false,
        };
        let told = text(&connected, plain);
        assert_eq!(
            told,
            "SESSION   CLIENT                  DOOR   SPEAKS      OPEN   IDLE  CALLS  STREAMS\n\
             18b004d7  claude\\x1b]0;x\\x07 1.2  stdio  2025-11-25  1m 5s  -     2      1\n\
             Without a session (2026-07-28 over HTTP): 1 request in flight.\n"
        );
        connected.sessions.clear();
        connected.n_requests_without = 0;
        assert_eq!(text(&connected, plain), "No sessions.\n");
    }
}
