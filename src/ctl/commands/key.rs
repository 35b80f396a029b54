//! `mcpctl key`: makes keys, shows which there are, replaces and revokes them. Needs no daemon; one that runs acts on it
//! at once.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::access::key::NewKey;
use crate::access::{KeyGrant, N_KEYS_MAX, Pattern, Scope};
use crate::ctl::args::{KeyName, KeyVerb, NewKeyArgs};
use crate::ctl::client::Patience;
use crate::ctl::context::Context;
use crate::ctl::declared::refused;
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::text::{duration, escaped};
use crate::ctl::words::now_ms;
use crate::ids::ServerName;
use crate::registry::{KeyRow, MadeKey};

/// Patience for the daemon to act on a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does what is asked.
pub(super) async fn run(verb: &KeyVerb, context: &Context, out: &mut Out) -> Result<(), Failure> {
    match verb {
        KeyVerb::Create(args) => create(args, context, out).await,
        KeyVerb::List => list(context, out).await,
        KeyVerb::Revoke(name) => revoke(name, context, out).await,
        KeyVerb::Rotate(name) => rotate(name, context, out).await,
    }
}

/// A key as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    id: &'a str,
    servers: Option<Vec<&'a str>>,
    tools: Option<Vec<&'a str>>,
    admin: bool,
    rate: Option<String>,
    created_ms: u64,
    expires_ms: Option<u64>,
    used_ms: Option<u64>,
    /// Whether it opens.
    valid: bool,
    /// The key itself: when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(row: &'a KeyRow, key: Option<&'a str>) -> Self {
        let grant = &row.grant;
        let servers = row.servers.as_ref();
        let tools = row.tools.as_ref();
        Self {
            name: &grant.name,
            id: &grant.id,
            servers: servers.map(|all| all.iter().map(ServerName::as_str).collect()),
            tools: tools.map(|all| all.iter().map(Pattern::as_str).collect()),
            admin: grant.is_admin,
            rate: grant.rate.map(|rate| rate.to_string()),
            created_ms: row.created_ms,
            expires_ms: grant.expires_ms,
            used_ms: row.used_ms,
            valid: grant.expires_ms.is_none_or(|until| until > now_ms()),
            key,
        }
    }
}

async fn create(args: &NewKeyArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let key = NewKey::random();
    let given = |given: &Vec<ServerName>| (!given.is_empty()).then(|| given.clone());
    let servers = given(&args.servers);
    let tools = (!args.tools.is_empty()).then(|| args.tools.clone());
    if args.admin && (servers.is_some() || tools.is_some()) {
        let text = "--admin controls the daemon, so that --servers and --tools would limit nothing";
        return Err(Failure::Usage(text.to_owned()));
    }
    let lifetime = args
        .expires
        .map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
    let row = KeyRow {
        grant: KeyGrant {
            id: key.id.clone(),
            name: args.name.clone(),
            hash: key.hash(),
            scope: Scope::of(servers.clone(), tools.clone()),
            is_admin: args.admin,
            rate: args.rate,
            expires_ms: lifetime.map(|lifetime| now_ms().saturating_add(lifetime)),
        },
        servers,
        tools,
        created_ms: now_ms(),
        used_ms: None,
    };
    let registry = context.registry(out).await?;
    match registry.add_key(&row).await.map_err(refused)? {
        MadeKey::Kept => {}
        MadeKey::NameTaken => {
            let name = &args.name;
            return Err(Failure::Refused(format!(
                "there is a key `{name}` already; `mcpctl key rotate {name}` replaces it"
            )));
        }
        MadeKey::TooMany => {
            let text = format!("there are {N_KEYS_MAX} keys already; revoke some");
            return Err(Failure::Refused(text));
        }
    }
    for unknown in undeclared(&row, &registry).await? {
        out.remark(&format!("mcpctl: no server is called `{unknown}` yet"));
    }
    acted_on(context).await?;
    show_once(&row, &key, out)
}

/// Servers that a key names and nobody has declared: most likely slips.
async fn undeclared(row: &KeyRow, registry: &crate::registry::Registry) -> Result<Vec<ServerName>, Failure> {
    let declared = registry.servers().await.map_err(refused)?;
    let is_unknown = |name: &&ServerName| !declared.iter().any(|known| known.name == **name);
    let named = row.servers.iter().flatten();
    Ok(named.filter(is_unknown).cloned().collect())
}

async fn rotate(name: &KeyName, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let key = NewKey::random();
    let registry = context.registry(out).await?;
    let rotated = registry
        .rotate_key(&name.name, &key.id, key.hash())
        .await
        .map_err(refused)?;
    let row = rotated.ok_or_else(|| not_there(&name.name))?;
    acted_on(context).await?;
    show_once(&row, &key, out)
}

fn show_once(row: &KeyRow, key: &NewKey, out: &mut Out) -> Result<(), Failure> {
    let shown = Shown::of(row, Some(&key.text));
    out.remark(&format!(
        "mcpctl: this is the key `{}`; it is not shown again. Clients send it as `Authorization: Bearer …`",
        row.grant.name
    ));
    Ok(out.either(&shown, &key.text)?)
}

async fn revoke(name: &KeyName, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let registry = context.registry(out).await?;
    if !registry.revoke_key(&name.name).await.map_err(refused)? {
        return Err(not_there(&name.name));
    }
    acted_on(context).await?;
    let revoked = serde_json::json!({ "revoked": name.name });
    Ok(out.either(&revoked, &format!("{}: revoked", name.name))?)
}

fn not_there(name: &str) -> Failure {
    Failure::Refused(format!(
        "there is no key `{name}`; `mcpctl key list` shows those there are"
    ))
}

/// A daemon that runs acts on it now: when this returns, what was revoked is out.
async fn acted_on(context: &Context) -> Result<(), Failure> {
    let told = context
        .client
        .tell::<Box<RawValue>>("/api/keys/reload", Patience::Limited(PATIENCE));
    match told.await {
        Ok(_) | Err(Failure::NoDaemon { .. }) => Ok(()),
        Err(Failure::Refused(error)) => Err(Failure::Refused(format!(
            "it is saved, but the daemon has not acted on it yet: {error}"
        ))),
        Err(failure) => Err(failure),
    }
}

async fn list(context: &Context, out: &mut Out) -> Result<(), Failure> {
    let rows = context.registry(out).await?.keys().await.map_err(refused)?;
    let shown: Vec<_> = rows.iter().map(|row| Shown::of(row, None)).collect();
    let text = if shown.is_empty() {
        "No keys; `mcpctl key create NAME` makes one.\n".to_owned()
    } else {
        table(&shown, now_ms(), out.look())
    };
    Ok(out.either(&shown, &text)?)
}

fn table(keys: &[Shown<'_>], now_ms: u64, look: Look) -> String {
    let mut table = Table::new(&["NAME", "ID", "SEES", "RATE", "MADE", "EXPIRES", "USED"]);
    let ago = |at_ms: u64| format!("{} ago", duration(now_ms.saturating_sub(at_ms)));
    for key in keys {
        let expires = match key.expires_ms {
            None => "never".to_owned(),
            Some(until) if until <= now_ms => "expired".to_owned(),
            Some(until) => format!("in {}", duration(until.saturating_sub(now_ms))),
        };
        table.row(&[
            &escaped(key.name),
            key.id,
            &sees(key),
            key.rate.as_deref().unwrap_or("-"),
            &ago(key.created_ms),
            &expires,
            &key.used_ms.map_or_else(|| "never".to_owned(), ago),
        ]);
    }
    table.text(look)
}

fn sees(key: &Shown<'_>) -> String {
    let named =
        |what: &str, all: &Option<Vec<&str>>| all.as_ref().map(|all| format!("{what} {}", all.join(",")));
    let limits: Vec<String> = [named("servers", &key.servers), named("tools", &key.tools)]
        .into_iter()
        .flatten()
        .collect();
    match (key.admin, limits.is_empty()) {
        (true, _) => "all, and control".to_owned(),
        (false, true) => "all".to_owned(),
        (false, false) => limits.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_with_what_they_see_and_never_themselves() {
        let key = NewKey::random();
        let servers = Some(vec![ServerName::parse("git").unwrap()]);
        let mut row = KeyRow {
            grant: KeyGrant {
                id: "0123456789ab".to_owned(),
                name: "ci".to_owned(),
                hash: key.hash(),
                scope: Scope::of(servers.clone(), None),
                is_admin: false,
                rate: Some("60/min".parse().unwrap()),
                expires_ms: Some(121_000),
            },
            servers,
            tools: None,
            created_ms: 1_000,
            used_ms: None,
        };
        let plain = Look {
            width: None,
            colour: false,
        };
        let told = table(&[Shown::of(&row, None)], 61_000, plain);
        assert_eq!(
            told,
            "NAME  ID            SEES         RATE    MADE       EXPIRES   USED\n\
             ci    0123456789ab  servers git  60/min  1m 0s ago  in 1m 0s  never\n"
        );
        row.grant.is_admin = true;
        row.grant.expires_ms = Some(5);
        let told = table(&[Shown::of(&row, None)], 61_000, plain);
        assert!(
            told.contains("all, and control") && told.contains("expired"),
            "{told}"
        );
        let json = serde_json::to_string(&Shown::of(&row, None)).unwrap();
        assert!(!json.contains("hash") && !json.contains(&key.text), "{json}");
    }
}
