//! What stands in the settings of a client for all our servers.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::NAME;
use super::edit::Fields;
use crate::ctl::clients::Client;

/// How a client starts us.
#[derive(Debug, Clone)]
pub(in crate::ctl) struct Entry {
    /// The file of our program, absolute: a desktop client has another PATH.
    pub(in crate::ctl) program: PathBuf,
    /// The project folder, absolute.
    pub(in crate::ctl) project: PathBuf,
    /// Variables that say where our folders are, if they are set here: the client has other ones.
    pub(in crate::ctl) env: Vec<(String, String)>,
}

impl Entry {
    /// In the words of a client.
    pub(in crate::ctl) fn fields(&self, client: Client) -> Fields {
        let mut fields = Vec::new();
        // Required there (code.visualstudio.com/docs/copilot/reference/mcp-configuration, "Standard I/O servers").
        if client == Client::VsCode {
            fields.push(("type".to_owned(), Value::from("stdio")));
        }
        let text = |path: &Path| Value::from(path.to_string_lossy());
        fields.push(("command".to_owned(), text(&self.program)));
        let args = [Value::from("stdio"), Value::from("--dir"), text(&self.project)];
        fields.push(("args".to_owned(), Value::from(args.to_vec())));
        if !self.env.is_empty() {
            let env = self
                .env
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            fields.push(("env".to_owned(), Value::Object(env.collect())));
        }
        fields
    }
}

/// Our program: beside this one, or in the PATH.
pub(in crate::ctl) fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|file| file.with_file_name(NAME));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    let candidates = beside
        .into_iter()
        .chain(folders.iter().map(|folder| folder.join(NAME)));
    candidates
        .filter(|file| file.is_absolute())
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_what_it_needs() {
        let entry = Entry {
            program: "/b/mcp-wrapper".into(),
            project: "/p q".into(),
            env: vec![("MCP_DATA_DIR".to_owned(), "/d".to_owned())],
        };
        let text = |client| {
            let fields: Vec<_> = entry
                .fields(client)
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            fields.join(" ")
        };
        let common = r#"command="/b/mcp-wrapper" args=["stdio","--dir","/p q"] env={"MCP_DATA_DIR":"/d"}"#;
        assert_eq!(text(Client::Cursor), common);
        assert_eq!(text(Client::VsCode), format!("type=\"stdio\" {common}"));
    }
}
