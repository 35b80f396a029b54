// A client of the official TypeScript SDK that can be asked everything, and that keeps what it was told.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, LoggingMessageNotificationSchema,
  ProgressNotificationSchema, ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** mcp-remote is a process that speaks stdio to us, and HTTP or SSE to the gateway. */
function remoteTo(gateway, kind) {
  const state = join(gateway.scratch, `mcp-remote-${kind}`);
  mkdirSync(state, { recursive: true });
  return new StdioClientTransport({
    command: join(gateway.packages, "node_modules/.bin/mcp-remote"),
    args: [kind === "sse" ? gateway.sse : gateway.url, "--transport", `${kind}-only`],
    env: { ...getDefaultEnvironment(), MCP_REMOTE_CONFIG_DIR: state },
  });
}

/** Keeps how long each POST was and which type its answer had. */
function recordingFetch(exchanges) {
  return async (url, init) => {
    const answer = await fetch(url, init);
    if (init?.method === "POST") {
      exchanges.push({ sent: init.body.length, type: answer.headers.get("content-type") ?? "" });
    }
    return answer;
  };
}

function transportTo(gateway, clientName, kind, exchanges) {
  if (clientName === "mcp-remote") return remoteTo(gateway, kind);
  switch (kind) {
    case "http":
      return new StreamableHTTPClientTransport(new URL(gateway.url), { fetch: recordingFetch(exchanges) });
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

/**
 * A client after its handshake. `seen` holds what came by itself, oldest first: `progress`, `logs`, `updates`; what it
 * was asked: `samplings`, `elicitations`, `rootsAsked`; and `exchanges`, the POSTs of Streamable HTTP. `answers` are
 * functions that the caller may replace: they answer a sampling and an elicitation, and tell the roots.
 */
export async function open(gateway, clientName, kind) {
  const seen = { progress: [], logs: [], updates: [], samplings: [], elicitations: [], rootsAsked: 0, exchanges: [] };
  const refuse = () => {
    throw new Error("nobody expected a question");
  };
  const answers = { sampling: refuse, elicitation: refuse, roots: () => [] };
  const client = new Client(
    { name: `features-${clientName}-${kind}`, version: "1" },
    { capabilities: { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } } },
  );
  // In place of the SDK's own, which forgets a token when it reads the result, and a last step with it.
  client.setNotificationHandler(ProgressNotificationSchema, ({ params }) => void seen.progress.push(params));
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void seen.logs.push(params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void seen.updates.push(params.uri));
  client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    seen.samplings.push(params);
    return answers.sampling(params);
  });
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    seen.elicitations.push(params);
    return answers.elicitation(params);
  });
  client.setRequestHandler(ListRootsRequestSchema, () => {
    seen.rootsAsked += 1;
    return { roots: answers.roots() };
  });
  const transport = transportTo(gateway, clientName, kind, seen.exchanges);
  await client.connect(transport);
  const close = async () => {
    // Over HTTP a session outlives its connections unless it is taken back.
    await transport.terminateSession?.();
    await client.close();
  };
  return { client, clientName, kind, seen, answers, close };
}
