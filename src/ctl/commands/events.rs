//! `mcpctl events [NAME]`: from the daemon, or from the journal when none runs.

use crate::ctl::args::EventsArgs;
use crate::ctl::context::Context;
use crate::ctl::declared::refused;
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::words;
use crate::event::SupervisionEvent;

/// Shows what happened to servers, oldest first.
pub(super) async fn run(args: &EventsArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let events = read(args, context, out).await?;
    let text = text(&events, out.look());
    Ok(out.either(&events, &text)?)
}

async fn read(args: &EventsArgs, context: &Context, out: &mut Out) -> Result<Vec<SupervisionEvent>, Failure> {
    let path = match &args.name {
        Some(name) => format!("/api/events?server={name}&n={}", args.number),
        None => format!("/api/events?n={}", args.number),
    };
    match context.client.get(&path).await {
        Err(Failure::NoDaemon { .. }) => {
            out.remark("mcpctl: no daemon is running; this is from the journal");
            let registry = context.registry(out).await?;
            let number = usize::try_from(args.number).unwrap_or(usize::MAX);
            registry.events(args.name.as_ref(), number).await.map_err(refused)
        }
        told => told,
    }
}

fn text(events: &[SupervisionEvent], look: Look) -> String {
    if events.is_empty() {
        return "Nothing has happened yet.".to_owned();
    }
    let mut table = Table::new(&["TIME", "SERVER", "RUN", "WHAT"]);
    for event in events {
        let run = event.generation.to_string();
        table.row(&[
            &words::moment(event.at_ms),
            event.server.as_str(),
            &run,
            &event.what.to_string(),
        ]);
    }
    table.text(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::What;
    use crate::ids::{Generation, ServerName};

    #[test]
    fn an_event_is_a_line() {
        let event = SupervisionEvent {
            at_ms: 0,
            server: ServerName::parse("git").unwrap(),
            generation: Generation(2),
            what: What::Spawned { pid: 7 },
        };
        assert_eq!(
            text(
                &[event],
                Look {
                    width: None,
                    colour: false
                }
            ),
            "TIME                  SERVER  RUN  WHAT\n1970-01-01 00:00:00Z  git     2    started as process 7\n"
        );
    }
}
