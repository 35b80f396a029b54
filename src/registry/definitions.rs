//! The servers that should run: those of `servers.toml`, and those that were added by command.
//!
//! A name may have a row of each source; the file's one is in effect and the other is kept, shadowed.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Registry, RegistryError, now_ms};
use crate::api::DefinitionOrigin;
use crate::config::RawServer;
use crate::ids::ServerName;

/// One declared server.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: ServerName,
    /// Who declared it.
    pub origin: DefinitionOrigin,
    /// As typed.
    pub raw: RawServer,
    /// Whether it is wanted, after `mcpctl enable` and `disable`.
    pub enabled: bool,
    /// Not in effect, because `servers.toml` has a server of the same name.
    pub shadowed: bool,
}

/// What became of a definition that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Added,
    /// It took the place of an earlier one.
    Replaced,
    /// It is kept, but `servers.toml` has a server of this name, which is in effect.
    ShadowedByFile,
}

/// What became of a definition that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone. One of the same name in `servers.toml` stays.
    Gone,
    /// There was none.
    NotThere,
    /// It stands in `servers.toml` only, and must be taken out there.
    InFile,
}

impl Registry {
    /// All servers: those in effect in the order of merged lists, then the shadowed ones.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn servers(&self) -> Result<Vec<Declared>, RegistryError> {
        self.read("reading the servers", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT name, origin, definition,
                        (SELECT enabled FROM overrides o WHERE o.name = d.name),
                        source = 'user' AND EXISTS (
                            SELECT 1 FROM definitions f WHERE f.name = d.name AND f.source = 'file'
                        ) AS shadowed
                 FROM definitions d
                 ORDER BY shadowed, source <> 'file', position, name",
            )?;
            let rows = query.query_map([], declared)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Stores what was added by command or imported. Earlier `enable` and `disable` of the name are forgotten.
    ///
    /// # Errors
    /// `Unstorable`, or what SQLite says.
    pub async fn put(
        &self,
        origin: DefinitionOrigin,
        name: &ServerName,
        raw: &RawServer,
    ) -> Result<Put, RegistryError> {
        let (name, definition) = (name.clone(), json_of(name, raw)?);
        self.write("storing a server", move |transaction| {
            let name = name.as_str();
            let was_there = exists(transaction, name, "user")?;
            transaction.execute(
                "INSERT INTO definitions (name, source, origin, definition, position, created_ms, updated_ms)
                 VALUES (?1, 'user', ?2, ?3,
                         (SELECT coalesce(max(position), 0) + 1 FROM definitions WHERE source = 'user'), ?4, ?4)
                 ON CONFLICT (name, source) DO UPDATE SET
                     origin = excluded.origin, definition = excluded.definition, updated_ms = excluded.updated_ms",
                params![name, word_of(origin), definition, now_ms()],
            )?;
            if exists(transaction, name, "file")? {
                return Ok(Put::ShadowedByFile);
            }
            transaction.execute("DELETE FROM overrides WHERE name = ?1", [name])?;
            Ok(if was_there { Put::Replaced } else { Put::Added })
        })
        .await
    }

    /// Forgets what was added by command, with all that is kept for it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn remove(&self, name: &ServerName) -> Result<Removed, RegistryError> {
        let name = name.clone();
        self.write("removing a server", move |transaction| {
            let name = name.as_str();
            let n_gone = transaction.execute(
                "DELETE FROM definitions WHERE name = ?1 AND source = 'user'",
                [name],
            )?;
            let in_file = exists(transaction, name, "file")?;
            forget_the_undeclared(transaction)?;
            Ok(match (n_gone > 0, in_file) {
                (true, _) => Removed::Gone,
                (false, true) => Removed::InFile,
                (false, false) => Removed::NotThere,
            })
        })
        .await
    }

    /// Turns a server on or off, wherever it is declared. Says whether there is one of this name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn set_enabled(&self, name: &ServerName, enabled: bool) -> Result<bool, RegistryError> {
        let name = name.clone();
        self.write("enabling or disabling a server", move |transaction| {
            let name = name.as_str();
            if !exists(transaction, name, "user")? && !exists(transaction, name, "file")? {
                return Ok(false);
            }
            transaction.execute(
                "INSERT INTO overrides (name, enabled, updated_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled, updated_ms = excluded.updated_ms
                 WHERE enabled <> excluded.enabled",
                params![name, enabled, now_ms()],
            )?;
            Ok(true)
        })
        .await
    }

    /// Makes the definitions of origin `file` equal to the file, in its order. Rows that agree stay untouched.
    ///
    /// # Errors
    /// `Unstorable`, or what SQLite says.
    pub async fn mirror_file(&self, servers: &[(ServerName, RawServer)]) -> Result<(), RegistryError> {
        let rows: Vec<_> = servers
            .iter()
            .map(|(name, raw)| Ok((name.clone(), json_of(name, raw)?)))
            .collect::<Result<_, RegistryError>>()?;
        self.write("mirroring the servers file", move |transaction| {
            let named: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
            for gone in names_in_file(transaction)?.iter().filter(|name| !named.contains(name.as_str())) {
                transaction.execute("DELETE FROM definitions WHERE name = ?1 AND source = 'file'", [gone])?;
            }
            for ((name, definition), position) in rows.iter().zip(1_i64..) {
                transaction.execute(
                    "INSERT INTO definitions (name, source, origin, definition, position, created_ms, updated_ms)
                     VALUES (?1, 'file', 'file', ?2, ?3, ?4, ?4)
                     ON CONFLICT (name, source) DO UPDATE SET definition = excluded.definition,
                         position = excluded.position, updated_ms = excluded.updated_ms
                     WHERE definition <> excluded.definition OR position <> excluded.position",
                    params![name.as_str(), definition, position, now_ms()],
                )?;
            }
            forget_the_undeclared(transaction)
        })
        .await
    }
}

/// One row; `None` for one that this version cannot read, for example because a newer one wrote a key of its own.
fn declared(row: &Row<'_>) -> rusqlite::Result<Option<Declared>> {
    let (name, definition): (String, String) = (row.get(0)?, row.get(2)?);
    let (parsed, raw) = match (
        ServerName::parse(&name),
        serde_json::from_str::<RawServer>(&definition),
    ) {
        (Ok(parsed), Ok(raw)) => (parsed, raw),
        (Err(error), _) => {
            tracing::warn!(server = name, %error, "a server in the registry is left out: its name is bad");
            return Ok(None);
        }
        (_, Err(error)) => {
            tracing::warn!(server = name, %error, "a server in the registry is left out: remove it and add it again");
            return Ok(None);
        }
    };
    let said: Option<bool> = row.get(3)?;
    Ok(Some(Declared {
        name: parsed,
        origin: origin_of(&row.get::<_, String>(1)?),
        enabled: said.or(raw.enabled).unwrap_or(true),
        raw,
        shadowed: row.get(4)?,
    }))
}

fn exists(transaction: &Transaction<'_>, name: &str, source: &str) -> rusqlite::Result<bool> {
    transaction
        .query_row(
            "SELECT 1 FROM definitions WHERE name = ?1 AND source = ?2",
            [name, source],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
}

fn names_in_file(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let mut query = transaction.prepare("SELECT name FROM definitions WHERE source = 'file'")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// Takes away what is kept for names that nobody declares any more.
fn forget_the_undeclared(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM overrides WHERE name NOT IN (SELECT name FROM definitions)",
        [],
    )?;
    transaction.execute(
        "DELETE FROM snapshots WHERE server NOT IN (SELECT name FROM definitions)",
        [],
    )?;
    transaction.execute(
        "DELETE FROM verdicts WHERE server NOT IN (SELECT name FROM definitions)",
        [],
    )?;
    Ok(())
}

fn json_of(name: &ServerName, raw: &RawServer) -> Result<String, RegistryError> {
    serde_json::to_string(raw).map_err(|source| RegistryError::Unstorable {
        server: name.to_string(),
        source,
    })
}

fn word_of(origin: DefinitionOrigin) -> &'static str {
    match origin {
        DefinitionOrigin::File => "file",
        DefinitionOrigin::Cli => "cli",
        DefinitionOrigin::Import => "import",
    }
}

/// The table holds these three words only.
fn origin_of(word: &str) -> DefinitionOrigin {
    match word {
        "file" => DefinitionOrigin::File,
        "import" => DefinitionOrigin::Import,
        _ => DefinitionOrigin::Cli,
    }
}
