// How the TypeScript cases reach the gateway, what they say, and what they ask `mcpctl`.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { setTimeout as delay } from "node:timers/promises";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const CHECK_MS = 45_000;
const POLL_MS = 50;

export function gatewayOf(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

function transportTo(gateway, kind) {
  switch (kind) {
    case "http":
      return new StreamableHTTPClientTransport(new URL(gateway.url));
    case "sse":
      return new SSEClientTransport(new URL(gateway.sse));
    case "stdio": {
      const [command, ...args] = gateway.stdio;
      return new StdioClientTransport({ command, args });
    }
    default:
      throw new Error(`no transport ${kind}`);
  }
}

/** A client after its handshake. */
export async function connect(gateway, kind) {
  const client = new Client({ name: `real-${kind}`, version: "1" });
  await client.connect(transportTo(gateway, kind));
  return client;
}

/** One line a check; `status` tells whether all of them held. */
export class Report {
  constructor(name) {
    this.name = name;
    this.failed = 0;
  }

  async check(what, run) {
    try {
      await within(CHECK_MS, what, run());
      console.log(`ok   ${this.name}: ${what}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAIL ${this.name}: ${what}: ${String(error.message ?? error).replaceAll("\n", " ").slice(0, 600)}`);
      console.error(error);
    }
  }

  status() {
    return this.failed === 0 ? 0 : 1;
  }
}

export function expect(held, came) {
  if (!held) throw new Error(`came ${JSON.stringify(came)}`);
}

/** The promise's value, or an error when it takes longer. */
export async function within(ms, what, promise) {
  const late = new AbortController();
  const limit = delay(ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what}: not within ${ms} ms`);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    late.abort();
    limit.catch(() => {});
  }
}

/** Asks again until the answer is truthy; an error counts as not yet, and is told when time is up. */
export async function until(ms, what, ask) {
  const end = performance.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = answer;
    } catch (error) {
      last = error.message;
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms; last: ${JSON.stringify(last)}`);
    await delay(POLL_MS);
  }
}

/** The text of a tool's answer, which must not be an error. */
export async function call(client, name, args = {}, options = undefined) {
  const answer = await client.callTool({ name, arguments: args }, undefined, options);
  expect(!answer.isError, answer);
  return answer.content.filter((part) => part.type === "text").map((part) => part.text).join("\n");
}

/** What `mcpctl` prints; an exit status other than 0 is an error with its stderr. */
export async function mcpctl(gateway, ...args) {
  const [command, ...before] = gateway.mcpctl;
  const { stdout } = await promisify(execFile)(command, [...before, ...args], { timeout: CHECK_MS, maxBuffer: 16 << 20 });
  return stdout;
}

/** One server as `mcpctl status --json` tells it. */
export async function serverStatus(gateway, name) {
  const { servers } = JSON.parse(await mcpctl(gateway, "status", "--json"));
  const server = servers.find((one) => one.name === name);
  if (!server) throw new Error(`mcpctl status knows no ${name}`);
  return server;
}
