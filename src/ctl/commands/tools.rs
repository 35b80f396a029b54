//! `mcpctl tools [NAME]`.

use crate::api::ToolLine;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ids::ServerName;

/// Shows the tools on offer, under the names that clients call.
pub(super) async fn run(name: Option<&ServerName>, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let path = match name {
        Some(name) => format!("/api/tools?server={name}"),
        None => "/api/tools".to_owned(),
    };
    let tools: Vec<ToolLine> = context.client.get(&path).await?;
    let text = text(&tools, out.look());
    Ok(out.either(&tools, &text)?)
}

fn text(tools: &[ToolLine], look: Look) -> String {
    if tools.is_empty() {
        return "No tools. `mcpctl status` shows which servers are up.".to_owned();
    }
    let mut table = Table::new(&["TOOL", "SERVER", "DESCRIPTION"]);
    for tool in tools {
        let first_line = tool.description.lines().next().unwrap_or_default();
        table.row(&[&tool.name, tool.server.as_str(), first_line]);
    }
    table.text(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_one_line_and_harmless() {
        let tool = ToolLine {
            name: "git__log".to_owned(),
            server: ServerName::parse("git").unwrap(),
            own_name: "log".to_owned(),
            description: "Shows\x1b]0;x\x07 the log\nand more".to_owned(),
        };
        assert_eq!(
            text(
                &[tool],
                Look {
                    width: None,
                    colour: false
                }
            ),
            "TOOL      SERVER  DESCRIPTION\ngit__log  git     Shows\\x1b]0;x\\x07 the log\n"
        );
    }
}
