//! The verbs, one file each.
//!
//! `add`, `remove`, `list`, `enable`, `disable`, `import`, `install`, `export`, `schema`, `key` need no daemon; `why` and `events` make do without one.

mod add;
mod call;
mod completions;
mod disable;
mod disconnect;
mod enable;
mod events;
mod export;
mod import;
mod install;
mod key;
mod list;
mod logs;
mod remove;
mod restart;
mod schema;
mod sessions;
mod shutdown;
mod start;
mod status;
mod stop;
mod tools;
mod why;

use super::args::Verb;
use super::context::Context;
use super::failure::Failure;
use super::render::Out;

/// Does what a verb asks.
pub(super) async fn run(verb: Verb, context: &Context, out: &mut Out) -> Result<(), Failure> {
    match verb {
        Verb::Add(args) => add::run(args, context, out).await,
        Verb::Remove(args) => remove::run(&args.names, context, out).await,
        Verb::List => list::run(context, out).await,
        Verb::Enable(args) => enable::run(&args.names, context, out).await,
        Verb::Disable(args) => disable::run(&args.names, context, out).await,
        Verb::Start(args) => start::run(&args.names, context, out).await,
        Verb::Stop(args) => stop::run(&args.names, context, out).await,
        Verb::Restart(args) => restart::run(&args.names, context, out).await,
        Verb::Sessions => sessions::run(context, out).await,
        Verb::Disconnect(args) => disconnect::run(&args.id, context, out).await,
        Verb::Key(verb) => key::run(&verb, context, out).await,
        Verb::Shutdown => shutdown::run(context, out).await,
        Verb::Status(args) => status::run(args.name.as_ref(), context, out).await,
        Verb::Tools(args) => tools::run(args.name.as_ref(), context, out).await,
        Verb::Call(args) => call::run(&args, context, out).await,
        Verb::Logs(args) => logs::run(&args, context, out).await,
        Verb::Import(args) => import::run(&args, context, out).await,
        Verb::Install(args) => install::run(&args, context, out).await,
        Verb::Export(args) => export::run(&args, context, out).await,
        Verb::Schema => schema::run(out),
        Verb::Why(args) => why::run(&args.name, context, out).await,
        Verb::Events(args) => events::run(&args, context, out).await,
        Verb::Completions { shell } => completions::run(shell, out),
    }
}
