//! Who may come in: keys, of each only the hash.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Registry, RegistryError, now_ms};
use crate::access::{KeyGrant, N_KEYS_MAX, Pattern, Rate, Scope};
use crate::ids::ServerName;

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// What it opens, and its hash.
    pub grant: KeyGrant,
    /// The servers it is limited to, for people.
    pub servers: Option<Vec<ServerName>>,
    /// The tools it is limited to, for people.
    pub tools: Option<Vec<Pattern>>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was used last, milliseconds since 1970; written down some time after.
    pub used_ms: Option<u64>,
}

/// What became of a key that was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeKey {
    /// It is kept.
    Kept,
    /// There is one of this name.
    NameTaken,
    /// There are as many as there may be.
    TooMany,
}

/// The columns of a row, as the queries name them.
const COLUMNS: &str = "id, name, hash, servers, tools, admin, rate, created_ms, expires_ms, used_ms";

impl Registry {
    /// All keys, by name. Those that this version cannot read are left out, and open nothing.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, RegistryError> {
        self.read("reading the keys", |connection| {
            let mut query =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM keys ORDER BY name"))?;
            let rows = query.query_map([], key_row)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// A number that grows with every change of who may come in, by any process.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn keys_revision(&self) -> Result<u64, RegistryError> {
        let number: i64 = self
            .read("reading the revision of the keys", |connection| {
                connection.query_row("SELECT number FROM keys_revision", [], |row| row.get(0))
            })
            .await?;
        Ok(number.unsigned_abs())
    }

    /// Keeps a new key.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn add_key(&self, row: &KeyRow) -> Result<MadeKey, RegistryError> {
        let row = row.clone();
        self.write("storing a key", move |transaction| {
            if named(transaction, &row.grant.name)?.is_some() {
                return Ok(MadeKey::NameTaken);
            }
            let n: i64 = transaction.query_row("SELECT count(*) FROM keys", [], |row| row.get(0))?;
            if usize::try_from(n).is_ok_and(|n| n >= N_KEYS_MAX) {
                return Ok(MadeKey::TooMany);
            }
            insert(transaction, &row)?;
            Ok(MadeKey::Kept)
        })
        .await
    }

    /// Puts another key in the place of the one of this name: it opens the same, and the one before opens no more.
    /// Gives the row as it is now; `None` when there is none of this name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn rotate_key(
        &self,
        name: &str,
        id: &str,
        hash: [u8; 32],
    ) -> Result<Option<KeyRow>, RegistryError> {
        let (name, id) = (name.to_owned(), id.to_owned());
        self.write("replacing a key", move |transaction| {
            transaction.execute(
                "UPDATE keys SET id = ?2, hash = ?3, created_ms = ?4, used_ms = NULL WHERE name = ?1",
                params![name, id, hash, now_ms()],
            )?;
            named(transaction, &name)
        })
        .await
    }

    /// Forgets a key: it opens no more. Says whether there was one of this name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn revoke_key(&self, name: &str) -> Result<bool, RegistryError> {
        let name = name.to_owned();
        self.write("revoking a key", move |transaction| {
            let n_gone = transaction.execute("DELETE FROM keys WHERE name = ?1", [&name])?;
            Ok(n_gone > 0)
        })
        .await
    }

    /// Writes down when keys were used last: id, and milliseconds since 1970.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn keys_used(&self, used: Vec<(String, u64)>) -> Result<(), RegistryError> {
        self.write("noting that keys were used", move |transaction| {
            for (id, used_ms) in &used {
                let used_ms = i64::try_from(*used_ms).unwrap_or(i64::MAX);
                transaction.execute(
                    "UPDATE keys SET used_ms = max(coalesce(used_ms, 0), ?2) WHERE id = ?1",
                    params![id, used_ms],
                )?;
            }
            Ok(())
        })
        .await
    }
}

fn insert(transaction: &Transaction<'_>, row: &KeyRow) -> rusqlite::Result<()> {
    let servers = row.servers.as_ref().map(|servers| {
        let servers: Vec<&str> = servers.iter().map(ServerName::as_str).collect();
        serde_json::json!(servers).to_string()
    });
    let tools = row.tools.as_ref().map(|tools| {
        let tools: Vec<&str> = tools.iter().map(Pattern::as_str).collect();
        serde_json::json!(tools).to_string()
    });
    let expires_ms = row
        .grant
        .expires_ms
        .map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    transaction.execute(
        "INSERT INTO keys (id, name, hash, servers, tools, admin, rate, created_ms, expires_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            row.grant.id,
            row.grant.name,
            row.grant.hash,
            servers,
            tools,
            row.grant.is_admin,
            row.grant.rate.map(|rate| rate.to_string()),
            i64::try_from(row.created_ms).unwrap_or(i64::MAX),
            expires_ms,
        ],
    )?;
    Ok(())
}

fn named(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<KeyRow>> {
    let query = format!("SELECT {COLUMNS} FROM keys WHERE name = ?1");
    let found = transaction.query_row(&query, [name], key_row).optional()?;
    Ok(found.flatten())
}

/// One row; `None` for one that this version cannot read. A limit that is not understood must not become none.
fn key_row(row: &Row<'_>) -> rusqlite::Result<Option<KeyRow>> {
    let name: String = row.get(1)?;
    let servers = row
        .get::<_, Option<String>>(3)?
        .map(|text| list::<ServerName>(&text, |name| ServerName::parse(name).ok()));
    let tools = row
        .get::<_, Option<String>>(4)?
        .map(|text| list::<Pattern>(&text, |text| text.parse().ok()));
    let rate = row
        .get::<_, Option<String>>(6)?
        .map(|text| text.parse::<Rate>().ok());
    if matches!(servers, Some(None)) || matches!(tools, Some(None)) || matches!(rate, Some(None)) {
        tracing::warn!(
            key = name,
            "a key opens nothing: another version has written it; revoke it and make another"
        );
        return Ok(None);
    }
    let (servers, tools) = (servers.flatten(), tools.flatten());
    let millis = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(i64::unsigned_abs));
    Ok(Some(KeyRow {
        grant: KeyGrant {
            id: row.get(0)?,
            name,
            hash: row.get(2)?,
            scope: Scope::of(servers.clone(), tools.clone()),
            is_admin: row.get(5)?,
            rate: rate.flatten(),
            expires_ms: millis(8)?,
        },
        servers,
        tools,
        created_ms: millis(7)?.unwrap_or_default(),
        used_ms: millis(9)?,
    }))
}

fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let texts: Vec<String> = serde_json::from_str(text).ok()?;
    texts.iter().map(|text| read(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::key::NewKey;

    fn row(name: &str, key: &NewKey, servers: Option<Vec<ServerName>>) -> KeyRow {
        let tools = Some(vec!["git__*".parse().unwrap()]);
        KeyRow {
            grant: KeyGrant {
                id: key.id.clone(),
                name: name.to_owned(),
                hash: key.hash(),
                scope: Scope::of(servers.clone(), tools.clone()),
                is_admin: false,
                rate: Some("60/min".parse().unwrap()),
                expires_ms: Some(7),
            },
            servers,
            tools,
            created_ms: 5,
            used_ms: None,
        }
    }

    #[tokio::test]
    async fn keys_are_kept_rotated_and_revoked_and_uses_are_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).await.unwrap();
        let (one, other) = (NewKey::random(), NewKey::random());
        let kept = row("ci", &one, Some(vec![ServerName::parse("git").unwrap()]));
        assert_eq!(registry.add_key(&kept).await.unwrap(), MadeKey::Kept);
        assert_eq!(
            registry.add_key(&row("ci", &other, None)).await.unwrap(),
            MadeKey::NameTaken
        );
        assert_eq!(registry.keys().await.unwrap(), std::slice::from_ref(&kept));
        let revision = registry.keys_revision().await.unwrap();
        registry.keys_used(vec![(one.id.clone(), 9)]).await.unwrap();
        registry.keys_used(vec![(one.id.clone(), 8)]).await.unwrap();
        assert_eq!(registry.keys().await.unwrap()[0].used_ms, Some(9));
        assert_eq!(registry.keys_revision().await.unwrap(), revision);
        let rotated = registry
            .rotate_key("ci", &other.id, other.hash())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (rotated.grant.hash, rotated.grant.scope),
            (other.hash(), kept.grant.scope.clone())
        );
        assert!(registry.keys_revision().await.unwrap() > revision);
        assert!(
            registry
                .rotate_key("nobody", "x", one.hash())
                .await
                .unwrap()
                .is_none()
        );
        assert!(registry.revoke_key("ci").await.unwrap());
        assert!(!registry.revoke_key("ci").await.unwrap());
        assert!(registry.keys().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_key_whose_limits_are_not_understood_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).await.unwrap();
        for (n, column) in ["servers", "tools", "rate"].into_iter().enumerate() {
            registry
                .add_key(&row(&format!("k{n}"), &NewKey::random(), None))
                .await
                .unwrap();
            let broken = format!("UPDATE keys SET {column} = 'x' WHERE name = 'k{n}'");
            registry
                .write("breaking it", move |transaction| transaction.execute(&broken, []))
                .await
                .unwrap();
        }
        assert!(registry.keys().await.unwrap().is_empty());
    }
}
