//! A client of 2026-07-28: no handshake, no session, each request says all that there is to know.

use serde_json::{Value, json};

use super::http::{BOTH, HttpClient, JSON, Reply};
use super::request;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// One client over HTTP. What it is able to do stands in each of its requests.
pub(crate) struct Bare {
    pub(crate) http: HttpClient,
    pub(crate) able: Value,
}

/// Parameters with the metadata of a client with these capabilities; what `params._meta` has goes before.
pub(crate) fn enveloped(able: &Value, mut params: Value) -> Value {
    let mut meta = json!({ VERSION: "2026-07-28", CAPABILITIES: able });
    for (key, value) in params["_meta"].as_object().into_iter().flatten() {
        meta[key] = value.clone();
    }
    params["_meta"] = meta;
    params
}

/// A request that says all, as text.
pub(crate) fn bare(id: impl Into<Value>, method: &str, able: &Value, params: Value) -> String {
    request(id, method, enveloped(able, params))
}

/// The parameters of a call.
pub(crate) fn calling(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

/// The same request once more, with what its client was asked.
pub(crate) fn coming_back(params: &Value, asked: &Value, responses: Value) -> Value {
    let mut params = params.clone();
    params["requestState"] = asked["result"]["requestState"].clone();
    params["inputResponses"] = responses;
    params
}

/// What an answer asks its client: the keys, in order.
#[track_caller]
pub(crate) fn keys_of(answer: &Value) -> Vec<String> {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    assert!(answer["result"]["requestState"].is_string(), "{answer}");
    let requests = answer["result"]["inputRequests"].as_object();
    requests.expect("questions").keys().cloned().collect()
}

impl Bare {
    /// One that can be asked everything.
    pub(crate) fn new(address: &str) -> Self {
        let able = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} });
        Self::able(address, able)
    }

    pub(crate) fn able(address: &str, able: Value) -> Self {
        let http = HttpClient::new(address);
        Self { http, able }
    }

    /// Posts a text with the headers that belong to these.
    pub(crate) async fn post(&self, method: &str, name: Option<&str>, text: &str) -> Reply {
        let mut headers = vec![BOTH, JSON, ("mcp-protocol-version", "2026-07-28")];
        headers.push(("mcp-method", method));
        headers.extend(name.map(|name| ("mcp-name", name)));
        let bearer = self.http.token.as_ref().map(|token| format!("Bearer {token}"));
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.http.send("POST", "/mcp", &headers, text.as_bytes()).await
    }

    /// Sends a request; the response is still to be read.
    pub(crate) async fn begin(&self, id: impl Into<Value>, method: &str, params: Value) -> Reply {
        let mut members = ["name", "uri", "taskId"].into_iter();
        let named = members.find_map(|member| params.get(member)).cloned();
        let text = bare(id, method, &self.able, params);
        self.post(method, named.as_ref().and_then(Value::as_str), &text)
            .await
    }

    /// Sends a request, and gives the answer, whichever form it has.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let reply = self.begin(1, method, params).await;
        serde_json::from_str(&reply.answer().await).unwrap()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", calling(tool, arguments)).await
    }

    /// Comes back to a call with these answers.
    pub(crate) async fn back(&self, params: &Value, asked: &Value, responses: Value) -> Value {
        self.ask("tools/call", coming_back(params, asked, responses))
            .await
    }
}
