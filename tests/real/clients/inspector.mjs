// The MCP Inspector on the command line: one process and one session a method.
//
//     inspector.mjs CASE GATEWAY.json NODE

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { FeatureReport } from "./feature_report.mjs";
import { gatewayOf, until } from "./gateway.mjs";
import { messages, processesOf, said, told } from "./tape.mjs";

const RUN_MS = 30_000;
const WAIT_MS = 10_000;
const N_PARALLEL = 100;
const PAYLOAD_BYTES = 5 << 20;
const OUTPUT_BYTES_MAX = 64 << 20;
/** The exit status of the Inspector when a tool answers that it failed. */
const TOOL_FAILED = 5;

const [name, gatewayFile, node] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const program = join(gateway.packages, "inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
const home = join(gateway.scratch, "inspector-home");
mkdirSync(home, { recursive: true });

/** Exit status, the JSON on stdout, and stderr. */
function run(...args) {
  const env = { ...process.env, HOME: home, MCP_INSPECTOR_SECRET_STORE: "memory" };
  const options = { env, timeout: RUN_MS, maxBuffer: OUTPUT_BYTES_MAX };
  return new Promise((resolve) => {
    const child = execFile(node, [program, "--cli", ...args, "--format", "json"], options, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
    child.stdin.end();
  });
}

class Inspector {
  constructor(kind) {
    this.kind = kind;
    this.target = { http: [gateway.url], sse: [gateway.sse], stdio: gateway.stdio }[kind];
  }

  /** The result of a method that has to succeed. */
  async ask(method, ...args) {
    const { status, stdout, stderr } = await run(...this.target, "--method", method, ...args);
    assert.equal(status, 0, stderr.slice(0, 400));
    return JSON.parse(stdout).result;
  }

  call(tool, args, ...more) {
    return this.ask("tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(args), ...more);
  }

  /** The text of a tool that answers that it failed. */
  async failed(tool, args) {
    const call = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(args)];
    const { status, stdout, stderr } = await run(...this.target, ...call);
    assert.equal(status, TOOL_FAILED, stderr.slice(0, 400));
    return JSON.parse(stdout).result.content[0].text;
  }
}

async function list(inspector) {
  const [tools, resources, templates, prompts] = await Promise.all(
    ["tools/list", "resources/list", "resources/templates/list", "prompts/list"].map((method) => inspector.ask(method)),
  );
  const [pid] = processesOf(gateway, "every");
  const answers = messages(gateway, "every", "out", pid);
  const newest = (member) => answers.findLast((message) => message.result?.[member]).result[member];
  const ours = tools.tools.filter((tool) => tool.name.startsWith("every__"));
  assert.deepEqual(ours.map((tool) => tool.inputSchema), newest("tools").map((tool) => tool.inputSchema));
  assert.deepEqual(ours.map((tool) => tool.name), newest("tools").map((tool) => `every__${tool.name}`));
  const uris = newest("resources").map(({ uri }) => uri);
  assert.deepEqual(resources.resources.map(({ uri }) => uri), [...uris, ...uris.map((uri) => `${uri}?mcp-server=own`)]);
  const known = newest("resourceTemplates").map((template) => template.uriTemplate);
  assert.deepEqual(templates.resourceTemplates.slice(0, known.length).map((one) => one.uriTemplate), known);
  const names = newest("prompts").map((prompt) => prompt.name);
  assert.deepEqual(prompts.prompts.map((one) => one.name), ["every", "own"].flatMap((server) => names.map((one) => `${server}__${one}`)));
}

async function call(inspector) {
  const message = `grüße 🦀 "${inspector.kind}"`;
  assert.deepEqual((await inspector.call("every__echo", { message })).content, [{ type: "text", text: `Echo: ${message}` }]);
  assert.match(await inspector.failed("every__get-sum", { a: "one", b: 2 }), /expected number/i);
}

async function read(inspector) {
  const uri = "demo://resource/static/document/features.md";
  const { contents } = await inspector.ask("resources/read", "--uri", uri);
  const due = said(gateway, "every").findLast((message) => message.result?.contents?.[0].uri === uri);
  assert.deepEqual(contents, due.result.contents);
  const dynamic = await inspector.ask("resources/read", "--uri", "demo://resource/dynamic/text/7");
  assert.match(dynamic.contents[0].text, /^Resource 7: /);
}

async function prompt(inspector) {
  const args = ["--prompt-name", "own__args-prompt", "--prompt-args", "city=Ulm", "state=BW"];
  const { messages: came } = await inspector.ask("prompts/get", ...args);
  assert.deepEqual(came, [{ role: "user", content: { type: "text", text: "What's weather in Ulm, BW?" } }]);
}

/**
 * It ends before a message could come, and prints none. What can be seen is that the level is taken, and that the
 * server is told anew: the lowest level of all sessions, of which earlier ones of this client may still be there.
 */
async function logLevel(inspector) {
  const nTold = () => told(gateway, "every").filter((one) => one.method === "logging/setLevel").length;
  const before = nTold();
  assert.deepEqual(await inspector.ask("logging/setLevel", "--log-level", "error"), {});
  await until(WAIT_MS, "the server is told", () => nTold() > before);
  return "the level is taken and the server is told; messages are not printed by this client";
}

async function roots(inspector) {
  const file = join(home, `${inspector.kind}.json`);
  const [command, ...args] = gateway.stdio;
  const target = { http: { type: "streamable-http", url: gateway.url }, sse: { type: "sse", url: gateway.sse }, stdio: { type: "stdio", command, args } };
  const root = { uri: `file:///of/${inspector.kind}`, name: `of ${inspector.kind}` };
  writeFileSync(file, JSON.stringify({ mcpServers: { gateway: { ...target[inspector.kind], roots: [root] } } }));
  const asked = ["--config", file, "--server", "gateway", "--method", "tools/call", "--tool-name", "own__get-roots-list"];
  const { status, stdout, stderr } = await run(...asked);
  assert.equal(status, 0, stderr.slice(0, 400));
  const { text } = JSON.parse(stdout).result.content[0];
  assert.ok(text.includes("(1 total)") && text.includes(`1. ${root.name}\n   URI: ${root.uri}`), text);
}

async function parallel(inspector) {
  const message = `at once by ${inspector.kind}`;
  const many = ["--load", "--load-concurrency", String(N_PARALLEL), "--load-requests", String(N_PARALLEL)];
  const { ok, toolErrors, errors, requests } = await inspector.call("every__echo", { message }, ...many);
  assert.deepEqual({ ok, toolErrors, errors, requests }, { ok: N_PARALLEL, toolErrors: 0, errors: 0, requests: N_PARALLEL });
  const ids = told(gateway, "every").filter((one) => one.params?.arguments?.message === message).map(({ id }) => id);
  assert.equal(new Set(ids).size, N_PARALLEL);
  const answered = said(gateway, "every").filter((one) => ids.includes(one.id) && one.result.content[0].text === `Echo: ${message}`);
  assert.equal(answered.length, N_PARALLEL);
}

/**
 * One way only; the other one is not offered. The server gives the text twice, as content and as structured content;
 * over stdio the Inspector takes 10 MiB at most.
 */
async function bigResult(inspector) {
  const path = join(gateway.files, "big.txt");
  const unit = "äöü 🦀 \\ \" of a big file\n";
  const text = unit.repeat(Math.ceil(PAYLOAD_BYTES / 2 / Buffer.byteLength(unit)));
  writeFileSync(path, text);
  const { content, structuredContent } = await inspector.call("files__read_text_file", { path });
  assert.ok(content[0].text === text, `${content[0].text.length} characters came`);
  assert.ok(structuredContent.content === text, `${structuredContent.content.length} structured characters came`);
}

async function unoffered(inspector, report) {
  const { report: lines } = report;
  // What the server is told instead is ours to hold.
  for (const [tool, args, why] of [
    ["every__trigger-sampling-request", { prompt: "anybody?" }, "sampling"],
    ["every__trigger-elicitation-request", {}, "elicitation"],
  ]) {
    await lines.check(`${why} of a client that cannot is refused`, async () => {
      assert.match(await inspector.failed(tool, args), new RegExp(`-32601: the client does not support ${why}`));
    });
    report.notOffered(why, "its command line declares no such capability");
  }
  await lines.check("a result of 5 MiB", () => bigResult(inspector));
  report.notOffered("payload-5MiB", "arguments come from its command line, of which Linux takes 128 KiB at most; a result of 5 MiB is read");
  report.notOffered("complete", "its command line has no method for it");
  report.notOffered("progress", "it prints no progress");
  report.notOffered("cancel", "it ends its process instead, and says nothing");
  report.notOffered("subscription", "one process is one method, and ends with its answer");
}

let status = 0;
for (const kind of ["http", "sse", "stdio"]) {
  const inspector = new Inspector(kind);
  const report = new FeatureReport(name, "inspector", kind);
  for (const [feature, check] of Object.entries({
    list, call, read, prompt, "log-level": logLevel, roots, "parallel-100": parallel,
  })) {
    await report.feature(feature, () => check(inspector));
  }
  await unoffered(inspector, report);
  status = Math.max(status, report.status());
}
process.exit(status);
