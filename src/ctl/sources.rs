//! The settings files of other programs on this machine, read: what `import` takes servers from.

use std::path::{Path, PathBuf};

use super::clients::{Client, Format, Homes, Place, Platform, all_places, places};
use super::failure::Failure;
use super::files;
use super::import::{self, Entry, NotImportable};
use super::render::Out;

/// The servers of one file.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: PathBuf,
    pub(super) client: Option<Client>,
    pub(super) entries: Vec<Entry>,
}

/// The servers of what was named: a client, a file, or nothing, which means all clients.
///
/// # Errors
/// Nothing is there, or what was named has no servers. Where nothing was named, a file that cannot be read is told, and
/// the others are read.
pub(super) fn read(
    source: Option<&str>,
    homes: Result<Homes, Failure>,
    out: &mut Out,
) -> Result<Vec<Found>, Failure> {
    let platform = Platform::here();
    let Some(source) = source else {
        return read_all(
            &all_places(&homes?, platform),
            "no settings of another program were found",
            out,
        );
    };
    // A file in the current folder may have the name of a client: `./cursor` means the file.
    if let Some(client) = Client::of_word(source).filter(|_| !source.contains('/')) {
        let nothing = format!("no settings of {} were found", client.title());
        return read_all(&places(client, &homes?, platform), &nothing, out);
    }
    let file = Path::new(source);
    let places = homes
        .map(|homes| all_places(&homes, platform))
        .unwrap_or_default();
    let client = places
        .into_iter()
        .find(|place| is_same(&place.file, file))
        .map(|place| place.client);
    let shown = file.display();
    let found = read_one(file, client).map_err(|why| match why {
        Unread::NotThere => Failure::Refused(format!(
            "{shown} cannot be read: there is no such file, and no client of that name; the clients are {}",
            Client::ALL.map(Client::word).join(", ")
        )),
        Unread::Io(error) => Failure::Refused(format!("{shown} cannot be read: {error}")),
        Unread::Text(why) => Failure::Refused(format!("nothing to take over in {shown}: {why}")),
    })?;
    Ok(vec![found])
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (_, _) => false,
    }
}

enum Unread {
    NotThere,
    Io(std::io::Error),
    Text(NotImportable),
}

fn read_one(file: &Path, client: Option<Client>) -> Result<Found, Unread> {
    let text = files::read(file).map_err(Unread::Io)?.ok_or(Unread::NotThere)?;
    let entries = import::read(&text, Format::of(file), client).map_err(Unread::Text)?;
    Ok(Found {
        file: file.to_owned(),
        client,
        entries,
    })
}

fn read_all(places: &[Place], nothing: &str, out: &mut Out) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for place in places {
        let shown = place.file.display();
        match read_one(&place.file, Some(place.client)) {
            Ok(one) => found.push(one),
            // Most settings are about something else.
            Err(Unread::NotThere | Unread::Text(NotImportable::NoServers)) => {}
            Err(Unread::Io(error)) => out.remark(&format!("mcpctl: {shown} cannot be read: {error}")),
            Err(Unread::Text(why)) => out.remark(&format!("mcpctl: {shown} is left out: {why}")),
        }
    }
    if found.is_empty() {
        let looked: Vec<String> = places
            .iter()
            .map(|place| format!("  {}", place.file.display()))
            .collect();
        return Err(Failure::Refused(format!(
            "{nothing} that have servers; looked for:\n{}",
            looked.join("\n")
        )));
    }
    if found.len() > 1 {
        for one in &mut found {
            let title = one.client.map_or("", Client::title);
            for entry in &mut one.entries {
                entry
                    .notes
                    .insert(0, format!("of {title} ({})", one.file.display()));
            }
        }
    }
    Ok(found)
}
