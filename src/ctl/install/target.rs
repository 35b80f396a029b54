//! The settings file of a client that `install` edits.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::edit::{Change, edited};
use crate::ctl::args::InstallArgs;
use crate::ctl::clients::{Client, Format, Platform, places};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::text::command_line;
use crate::ctl::{diff, files, lenient};

/// One settings file.
#[derive(Debug)]
pub(in crate::ctl) struct Target {
    pub(in crate::ctl) client: Client,
    pub(in crate::ctl) file: PathBuf,
    format: Format,
    /// `None`: there is none yet.
    pub(in crate::ctl) text: Option<String>,
}

impl Target {
    /// The file of a client, read.
    ///
    /// # Errors
    /// No client of that name, no place for its settings, or a file that cannot be read.
    pub(in crate::ctl) fn find(args: &InstallArgs, context: &Context) -> Result<Self, Failure> {
        let client = Client::of_word(&args.client).ok_or_else(|| {
            Failure::Usage(format!(
                "there is no client `{}`; the clients are {}",
                args.client,
                Client::ALL.map(Client::word).join(", ")
            ))
        })?;
        let file = match &args.file {
            Some(file) => file.clone(),
            None => {
                let places = places(client, &context.homes()?, Platform::here());
                let own = places.into_iter().next().map(|place| place.file);
                own.ok_or_else(|| Failure::Usage("name its settings with `--file`".to_owned()))?
            }
        };
        let text = files::read(&file)
            .map_err(|error| Failure::Refused(format!("{} cannot be read: {error}", file.display())))?;
        Ok(Self {
            client,
            format: client.format(),
            file,
            text,
        })
    }

    /// What stands there; empty where there is no file.
    pub(in crate::ctl) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// The text with a change.
    ///
    /// # Errors
    /// It cannot be edited without loss.
    pub(in crate::ctl) fn edited(&self, change: &Change) -> Result<String, Failure> {
        edited(self.text(), self.format, self.client.servers_key(), change)
            .map_err(|why| Failure::Refused(format!("{} is left as it is: {why}", self.file.display())))
    }

    /// The servers in a text of this form.
    pub(in crate::ctl) fn servers(&self, text: &str) -> Map<String, Value> {
        let value = lenient::parse(text, self.format).unwrap_or_default();
        let servers = value.get(self.client.servers_key());
        servers.and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The command that undoes an install here.
    pub(in crate::ctl) fn undo_command(&self, args: &InstallArgs) -> String {
        let mut words = ["mcpctl", "install", self.client.word(), "--undo"]
            .map(str::to_owned)
            .to_vec();
        if let Some(file) = &args.file {
            words.extend(["--file".to_owned(), file.display().to_string()]);
        }
        command_line(&words)
    }

    /// From what stands there to another text, for people; secrets are hidden.
    pub(in crate::ctl) fn diff(&self, after: &str) -> String {
        let values = [self.text(), after].map(|text| lenient::parse(text, self.format).unwrap_or_default());
        let [before, now] = &values;
        diff::unified(
            &self.file.display().to_string(),
            self.text(),
            after,
            &[before, now],
        )
    }

    /// Writes the file anew.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::ctl) fn write(&self, text: &str) -> Result<(), Failure> {
        files::write(&self.file, text, None)
            .map_err(|error| Failure::Refused(format!("{} cannot be written: {error}", self.file.display())))
    }
}
