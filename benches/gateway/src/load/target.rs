//! What is called: tools found by their own names, since every gateway prefixes in its own way.

use std::time::{Duration, Instant};

use gateway_bench::answers::MODERN;

use crate::Failed;
use crate::http::{Client, Place, Said};
use crate::options::Options;

/// Digits of the ids of calls, so that requests differ in them alone.
const ID_DIGITS: usize = 10;
const FIRST_ID: u64 = 1_000_000_000;

/// The names under which tools are on offer that are called this by their servers.
pub fn exposed(list: &[u8], tool: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(list);
    let names = text
        .split("\"name\":")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let is_it = |name: &&str| {
        let before = name.strip_suffix(tool);
        before.is_some_and(|before| !before.ends_with(|last: char| last.is_ascii_alphanumeric()))
    };
    names.filter(is_it).map(str::to_owned).collect()
}

/// Waits until so many servers offer the tool.
pub fn found(place: &Place, options: &Options) -> Result<Vec<String>, Failed> {
    let began = Instant::now();
    loop {
        let names = listed(place, options);
        match names {
            Ok(names) if names.len() >= options.n_servers => return Ok(names),
            found if began.elapsed() > options.patience => {
                return Err(format!(
                    "{} is not on offer of {} servers: {found:?}",
                    options.tool, options.n_servers
                ));
            }
            _not_yet => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn listed(place: &Place, options: &Options) -> Result<Vec<String>, Failed> {
    let mut client = Client::new(place)?;
    let said = client.open()?;
    let (_status, _head, list) = client.ask(&said, br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
    Ok(exposed(&list, &options.tool))
}

/// A request whose id alone changes.
#[derive(Debug, Clone)]
pub struct Template {
    pub text: Vec<u8>,
    id_at: usize,
    id: u64,
}

impl Template {
    /// The text has `@` where the id goes, and nowhere before.
    pub fn new(text: &[u8], n_th: usize) -> Self {
        let at = memchr::memchr(b'@', text).unwrap_or(text.len());
        let id = FIRST_ID + n_th as u64 * 1_000_000;
        let text = [
            &text[..at],
            id.to_string().as_bytes(),
            text.get(at + 1..).unwrap_or_default(),
        ]
        .concat();
        Self { text, id_at: at, id }
    }

    /// The same once more, under the next id.
    pub fn next(&mut self) {
        self.id += 1;
        let mut rest = self.id;
        for digit in self.text[self.id_at..self.id_at + ID_DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// What is wrong with an answer.
    pub fn check(&self, body: &[u8], n_bytes_wanted: usize) -> Result<(), Failed> {
        let begins = &body[..body.len().min(2048)];
        let ends = &body[body.len().saturating_sub(2048)..];
        let wanted = [&b"\"id\":"[..], &self.text[self.id_at..self.id_at + ID_DIGITS]].concat();
        let has = |what: &[u8]| {
            memchr::memmem::find(begins, what).is_some() || memchr::memmem::find(ends, what).is_some()
        };
        if !has(&wanted) && !has(&[&b"\"id\": "[..], &wanted[5..]].concat()) {
            return Err(format!(
                "not the answer to {}: {}",
                self.id,
                String::from_utf8_lossy(begins)
            ));
        }
        if !has(b"\"result\"") || has(b"\"isError\":true") || body.len() < n_bytes_wanted {
            return Err(format!(
                "not the answer that was wanted: {}",
                String::from_utf8_lossy(begins)
            ));
        }
        Ok(())
    }
}

/// The body of a call, with `@` for its id.
pub fn body(options: &Options, name: &str) -> Vec<u8> {
    let meta = if options.is_modern {
        format!(
            r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"load","version":"1"}}}}"#
        )
    } else {
        String::new()
    };
    let method = &options.method;
    if method != "tools/call" {
        let params = meta.strip_prefix(',').unwrap_or_default();
        return format!(r#"{{"jsonrpc":"2.0","id":@,"method":"{method}","params":{{{params}}}}}"#)
            .into_bytes();
    }
    let text = "x".repeat(options.n_bytes_sent);
    let n = if options.n_bytes_wanted == 0 {
        String::new()
    } else {
        format!(r#","n":{}"#, options.n_bytes_wanted)
    };
    format!(
        r#"{{"jsonrpc":"2.0","id":@,"method":"{method}","params":{{"name":"{name}","arguments":{{"text":"{text}"{n}}}{meta}}}}}"#
    )
    .into_bytes()
}

/// What goes with it.
pub fn said(options: &Options, session: Option<&Said>, name: &str) -> Said {
    if options.is_modern {
        let name = (options.method == "tools/call").then(|| name.to_owned());
        return Said {
            session: None,
            modern: Some((options.method.clone(), name)),
        };
    }
    session.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_under_every_kind_of_prefix() {
        let list = br#"{"tools":[{"name":"a__echo"},{"name": "b/echo"},{"name":"echo"},{"name":"reecho"},{"name":"a__die"}]}"#;
        assert_eq!(exposed(list, "echo"), ["a__echo", "b/echo", "echo"]);
    }

    #[test]
    fn ids_are_counted_in_place_and_an_answer_under_another_id_is_none() {
        let mut template = Template::new(br#"{"id":@,"x":1}"#, 0);
        template.next();
        assert_eq!(template.text, br#"{"id":1000000001,"x":1}"#);
        assert!(template.check(br#"{"id":1000000001,"result":{}}"#, 0).is_ok());
        assert!(template.check(br#"{"id": 1000000001,"result":{}}"#, 0).is_ok());
        for bad in [
            r#"{"id":1000000000,"result":{}}"#,
            r#"{"id":1000000001,"error":{}}"#,
            r#"{"id":1000000001,"result":{"isError":true}}"#,
        ] {
            assert!(template.check(bad.as_bytes(), 0).is_err(), "{bad}");
        }
        assert!(template.check(br#"{"id":1000000001,"result":{}}"#, 100).is_err());
    }
}
