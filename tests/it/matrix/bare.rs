//! Requests of clients without a handshake: each says all that is needed to understand it. Text in, text out.
//!
//! Sources: MCP 2026-07-28, basic ("Request Metadata"), Streamable HTTP, "Multi Round-Trip Requests".

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::cell::V26;

const PREFIX: &str = "io.modelcontextprotocol/";

/// The members of an object in their order, each value as it is written.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Pairs {
    #[track_caller]
    pub(crate) fn of(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Changes a member, or adds it behind the others.
    pub(crate) fn set(&mut self, key: &str, value: String) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn without(mut self, keys: &[&str]) -> Self {
        self.0.retain(|(key, _)| !keys.contains(&key.as_str()));
        self
    }

    pub(crate) fn text(&self) -> String {
        let one = |(key, value): &(String, String)| format!("{}:{value}", json!(key));
        let all: Vec<String> = self.0.iter().map(one).collect();
        format!("{{{}}}", all.join(","))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut all = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    all.push((key, value.get().to_owned()));
                }
                Ok(Pairs(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// A request as such a client sends it: behind its own metadata the revision, what the client can do, and who it is.
pub(crate) fn dressed(request: &str, abilities: &Value, level: Option<&str>) -> String {
    let mut request = Pairs::of(request);
    let mut params = Pairs::of(request.get("params").unwrap_or("{}"));
    let mut meta = Pairs::of(params.get("_meta").unwrap_or("{}"));
    for (key, value) in [
        ("protocolVersion", json!(V26)),
        ("clientCapabilities", abilities.clone()),
        ("clientInfo", json!({ "name": "matrix", "version": "1" })),
    ] {
        meta.set(&format!("{PREFIX}{key}"), value.to_string());
    }
    if let Some(level) = level {
        meta.set(&format!("{PREFIX}logLevel"), json!(level).to_string());
    }
    params.set("_meta", meta.text());
    request.set("params", params.text());
    request.text()
}

/// The headers that repeat what a request says.
pub(crate) fn headers(request: &str) -> Vec<(&'static str, String)> {
    let message = Pairs::of(request);
    let text = |written: Option<&str>| serde_json::from_str::<String>(written.unwrap()).unwrap();
    let method = text(message.get("method"));
    let mut all = vec![
        ("mcp-protocol-version", V26.to_owned()),
        ("mcp-method", method.clone()),
    ];
    let key = match method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return all,
    };
    let params = Pairs::of(message.get("params").unwrap());
    all.push(("mcp-name", text(params.get(key))));
    all
}

/// What a client is asked in a result.
#[derive(Debug)]
pub(crate) struct Asking {
    /// By their keys.
    pub(crate) questions: Pairs,
    /// As it is written.
    pub(crate) state: Option<String>,
}

impl Asking {
    /// `None`: this answer asks nothing.
    pub(crate) fn of(answer: &str) -> Option<Self> {
        let result = Pairs::of(Pairs::of(answer).get("result")?);
        if result.get("resultType") != Some(r#""input_required""#) {
            return None;
        }
        Some(Self {
            questions: Pairs::of(result.get("inputRequests").unwrap_or("{}")),
            state: result.get("requestState").map(str::to_owned),
        })
    }

    /// The same request once more, under another id, with these answers.
    pub(crate) fn retry(&self, request: &str, id: &str, answers: &Pairs) -> String {
        let mut request = Pairs::of(request);
        let mut params = Pairs::of(request.get("params").unwrap_or("{}"));
        params.set("inputResponses", answers.text());
        if let Some(state) = &self.state {
            params.set("requestState", state.clone());
        }
        request.set("id", id.to_owned());
        request.set("params", params.text());
        request.text()
    }
}

/// The status with which an error is answered; `None`: with more than one, depending on who refuses.
pub(crate) fn status(answer: &str) -> Option<u16> {
    let answer = Pairs::of(answer);
    let error = answer.get("error").map(Pairs::of);
    match error.as_ref().and_then(|error| error.get("code")) {
        Some("-32601") => Some(404),
        Some("-32022" | "-32021" | "-32020") => Some(400),
        Some("-32602") => None,
        _ => Some(200),
    }
}
