// Clients of the official TypeScript SDK in every way that they can begin, and servers of the SDKs in every era.
//
//     eras.mjs CASE GATEWAY.json
//
// The same checks as in `eras.py`, with the same servers: all clients are connected throughout and ask one after the
// other, and what is taken back comes last.

import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as StdioClientTransport1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as StreamableHTTPClientTransport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as types1 from "@modelcontextprotocol/sdk/types.js";

import { gatewayOf, until, within } from "./gateway.mjs";

const WAIT_MS = 15_000;
const CHECK_MS = 30_000;
const N_STEPS = 5;
const REVISION = "2026-07-28";
const LIBRARIES = {
  typescript: { modes: ["legacy"], Client: Client1, Stdio: StdioClientTransport1, Http: StreamableHTTPClientTransport1 },
  "typescript-2": { modes: ["legacy", "auto", REVISION], Client, Stdio: StdioClientTransport, Http: StreamableHTTPClientTransport },
};
/** What 1.x knows by a schema, 2.x knows by the method's name. */
const SCHEMAS = {
  "notifications/progress": types1.ProgressNotificationSchema,
  "notifications/message": types1.LoggingMessageNotificationSchema,
  "notifications/resources/updated": types1.ResourceUpdatedNotificationSchema,
  "notifications/tools/list_changed": types1.ToolListChangedNotificationSchema,
  "elicitation/create": types1.ElicitRequestSchema,
  "sampling/createMessage": types1.CreateMessageRequestSchema,
  "roots/list": types1.ListRootsRequestSchema,
};

/** One connected client, whatever the line of the SDK. */
class Peer {
  constructor(library, mode, kind) {
    Object.assign(this, { library, mode, kind, progress: [], logs: [], changes: [], asked: [] });
    this.isFirstLine = library === "typescript";
    this.isModern = mode !== "legacy";
    this.roots = [{ uri: `file:///${mode}/${kind}`, name: "the folder" }];
    this.form = {};
    this.sample = {};
  }

  async connect(gateway) {
    const { Client: Made, Stdio, Http } = LIBRARIES[this.library];
    const negotiated = this.mode === "legacy" || this.mode === "auto" ? this.mode : { pin: this.mode };
    this.client = new Made(
      { name: `eras-${this.library}`, version: "1" },
      { capabilities: { sampling: {}, elicitation: { form: {} }, roots: {} }, versionNegotiation: { mode: negotiated } },
    );
    const key = (method) => (this.isFirstLine ? SCHEMAS[method] : method);
    const hear = (method, handler) => this.client.setNotificationHandler(key(method), ({ params }) => void handler(params));
    const serve = (method, handler) => this.client.setRequestHandler(key(method), ({ params }) => {
      this.asked.push(params);
      return handler();
    });
    hear("notifications/progress", (params) => this.progress.push(params));
    hear("notifications/message", (params) => this.logs.push(params));
    hear("notifications/resources/updated", ({ uri }) => this.changes.push(uri));
    hear("notifications/tools/list_changed", () => this.changes.push("tools"));
    serve("elicitation/create", () => ({ action: "accept", content: this.form }));
    serve("sampling/createMessage", () => this.sample);
    serve("roots/list", () => ({ roots: this.roots }));
    const [command, ...args] = gateway.stdio;
    await this.client.connect(this.kind === "stdio" ? new Stdio({ command, args }) : new Http(new URL(gateway.url)));
    if (!this.isFirstLine) {
      assert.equal(this.client.getNegotiatedProtocolVersion(), this.isModern ? REVISION : "2025-11-25");
    }
  }

  async call(name, args = {}, { _meta, ...options } = {}) {
    const params = { name, arguments: args, ...(_meta && { _meta }) };
    const answer = await (this.isFirstLine ? this.client.callTool(params, undefined, options) : this.client.callTool(params, options));
    const text = answer.content.filter(({ type }) => type === "text").map((part) => part.text).join("\n");
    assert.ok(!answer.isError, text);
    return text;
  }

  /** While `run` runs, `changes` has what changes of the list of tools and of this resource. */
  async listening(uri, run) {
    this.changes.length = 0;
    if (this.isModern) {
      const heard = await this.client.listen({ toolsListChanged: true, ...(uri && { resourceSubscriptions: [uri] }) });
      await run();
      await heard.close();
    } else {
      if (uri) await this.client.subscribeResource({ uri });
      await run();
      if (uri) await this.client.unsubscribeResource({ uri });
    }
  }
}

const tagOf = (server) => `${server}-${Math.random().toString(16).slice(2, 10)}`;

async function twice(peer, server, tool, form, due, questions) {
  peer.form = form;
  peer.asked.length = 0;
  assert.equal(await peer.call(`${server}__${tool}`), due);
  // Which server asks may stand before it.
  assert.deepEqual(peer.asked.map(({ message }) => message.replace(/^\[[^\]]*\] /, "")), questions);
}

const FEATURES = {
  async list(peer, server) {
    const names = (await peer.client.listTools()).tools.map(({ name }) => name);
    assert.ok(names.includes(`${server}__echo`) && new Set(names).size === names.length, names.join());
  },
  async call(peer, server) {
    const text = `grüße 🦀 ${tagOf(server)}`;
    assert.ok((await peer.call(`${server}__echo`, { text })).includes(text));
  },
  async read(peer, server) {
    const uri = `asking-${server}://fixed`;
    assert.ok((await peer.client.listResources()).resources.some((one) => one.uri === uri));
    const [contents] = (await peer.client.readResource({ uri })).contents;
    assert.deepEqual([contents.uri, contents.text], [uri, "It stays."]);
  },
  async prompt(peer, server) {
    const { messages } = await peer.client.getPrompt({ name: `${server}__plain`, arguments: { topic: "rain" } });
    assert.equal(messages[0].content.text, "Tell me of rain.");
  },
  async progress(peer, server) {
    const progressToken = tagOf(server);
    assert.equal(await peer.call(`${server}__steps`, { n: N_STEPS }, { _meta: { progressToken } }), `${N_STEPS} steps`);
    const came = () => peer.progress.filter((one) => one.progressToken === progressToken).map(({ progress, total }) => `${progress}/${total}`);
    await until(WAIT_MS, "all steps", () => came().length >= N_STEPS);
    assert.deepEqual(came(), Array.from({ length: N_STEPS }, (_, i) => `${i + 1}/${N_STEPS}`));
  },
  async elicitation(peer, server) {
    const name = `Ada ${tagOf(server)}`;
    await twice(peer, server, "greet", { name }, `Hello, ${name}!`, ["What is your name?"]);
  },
  async "two rounds"(peer, server) {
    const name = `Ada ${tagOf(server)}`;
    const questions = ["What is your name?", `${name}, what is your favourite color?`];
    // A form with more than it was asked for is not an answer to it.
    const form = Object.defineProperty({ name }, "color", { value: "green", enumerable: true });
    await twice(peer, server, "paint", form, `${name} likes green.`, questions);
  },
  async sampling(peer, server) {
    const text = `a thought, ${tagOf(server)}`;
    peer.sample = { model: "a model", stopReason: "endTurn", role: "assistant", content: { type: "text", text } };
    peer.asked.length = 0;
    assert.equal(await peer.call(`${server}__ponder`), `a model thinks: ${text}`);
    assert.deepEqual(peer.asked.map(({ maxTokens }) => maxTokens), [77]);
  },
  async roots(peer, server) {
    assert.equal(await peer.call(`${server}__where`), peer.roots[0].uri);
  },
  async logs(peer, server) {
    const text = tagOf(server);
    // Without a handshake the level is said with the call.
    if (!peer.isModern) await peer.client.setLoggingLevel("warning");
    const options = peer.isModern ? { _meta: { "io.modelcontextprotocol/logLevel": "warning" } } : {};
    await peer.call(`${server}__say`, { text }, options);
    const came = () => peer.logs.filter(({ data }) => JSON.stringify(data).includes(text)).map(({ level }) => level);
    await until(WAIT_MS, "a message", () => came().length > 0);
    assert.deepEqual(came(), ["warning"]);
  },
  async "list changed"(peer, server) {
    const name = `grown_${tagOf(server).replaceAll("-", "_")}`;
    await peer.listening(undefined, async () => {
      await peer.call(`${server}__grow`, { name });
      let names = [];
      // What another client has made grow may be told of here first.
      while (!names.includes(`${server}__${name}`)) {
        await until(WAIT_MS, "a changed list", () => peer.changes.includes("tools"));
        peer.changes.length = 0;
        names = (await peer.client.listTools()).tools.map((tool) => tool.name);
      }
    });
  },
  async updated(peer, server) {
    const uri = `asking-${server}://fixed`;
    await peer.listening(uri, async () => {
      await peer.call(`${server}__touch`, { uri });
      await until(WAIT_MS, "a changed resource", () => peer.changes.includes(uri));
    });
  },
  async cancel(peer, server) {
    const tag = tagOf(server);
    const abort = new AbortController();
    const running = peer.call(`${server}__wait`, { tag }, { signal: abort.signal, _meta: { progressToken: tag } });
    const ended = assert.rejects(running, /enough/);
    await until(WAIT_MS, "the first step", () => peer.progress.some((one) => one.progressToken === tag));
    abort.abort("enough");
    await ended;
    await until(WAIT_MS, "the server is told", async () => /true/i.test(await peer.call(`${server}__was_taken_back`, { tag })));
  },
};

function told(name, { peer, server, passed, failures }) {
  const what = `${name}: ${peer.library} ${peer.mode} ${peer.kind}, ${server}: ${passed.join(", ")}`;
  console.log(failures.length === 0 ? `ok   ${what}` : `FAIL ${what}: ${failures.join("; ").replaceAll("\n", " ").slice(0, 600)}`);
  if (!process.env.ERAS_OUT) return;
  const verdict = failures.length === 0 ? "pass" : "fail";
  appendFileSync(process.env.ERAS_OUT, `${[server, peer.library, peer.mode, peer.kind, verdict, passed.join()].join("\t")}\n`);
}

const [name, gatewayFile] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const servers = JSON.parse(readFileSync(new URL("../servers/asking.json", import.meta.url), "utf8"));
const peers = Object.entries(LIBRARIES).flatMap(([library, { modes }]) =>
  modes.flatMap((mode) => ["http", "stdio"].map((kind) => new Peer(library, mode, kind))));
for (const peer of peers) await peer.connect(gateway);
const cells = peers.flatMap((peer) => Object.keys(servers).map((server) => ({ peer, server, passed: [], failures: [] })));
for (const [feature, check] of Object.entries(FEATURES)) {
  for (const cell of cells.filter(({ server }) => servers[server].has.includes(feature))) {
    try {
      await within(CHECK_MS, feature, check(cell.peer, cell.server));
      cell.passed.push(feature);
    } catch (error) {
      console.error(error);
      cell.failures.push(`${feature}: ${error.message ?? error}`);
    }
  }
}
for (const cell of cells) told(name, cell);
for (const { client } of peers) await client.close();
process.exit(cells.some(({ failures }) => failures.length > 0) ? 1 : 0);
