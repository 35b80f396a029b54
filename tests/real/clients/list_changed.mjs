// A server is added and removed from the command line while a client listens.
//
//     list_changed.mjs CASE GATEWAY.json

import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

import { Report, call, connect, expect, gatewayOf, mcpctl, until } from "./gateway.mjs";
import { processesWith } from "./processes.mjs";

const ADDED_MS = 30_000;
const REMOVED_MS = 20_000;
const SERVER = "everything2";

const [name, gatewayFile] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const mark = `${gateway.mark}-${SERVER}`;
const report = new Report(name);

const clients = await Promise.all(["http", "sse", "stdio"].map(async (kind) => {
  const client = await connect(gateway, kind);
  const told = { count: 0 };
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
    told.count += 1;
  });
  return { kind, client, told };
}));

async function offers({ client }) {
  return (await client.listTools()).tools.some((tool) => tool.name === `${SERVER}__echo`);
}

await report.check("mcpctl add", async () => {
  for (const one of clients) expect(!(await offers(one)), one.kind);
  await mcpctl(
    gateway, "add", SERVER, "--cwd", gateway.packages, "--env", mark, "--",
    "npx", "-y", "@modelcontextprotocol/server-everything",
  );
});

for (const one of clients) {
  await report.check(`the ${one.kind} client is told and has the new tools`, async () => {
    await until(ADDED_MS, "tools/list_changed", () => one.told.count > 0);
    await until(ADDED_MS, `${SERVER}__echo in tools/list`, () => offers(one));
    const said = await call(one.client, `${SERVER}__echo`, { message: one.kind });
    expect(said === `Echo: ${one.kind}`, said);
  });
}

await report.check("it runs as npx with its children", async () => {
  const running = processesWith(mark);
  expect(running.length >= 2, running);
});

await report.check("mcpctl list and tools know it", async () => {
  expect((await mcpctl(gateway, "list")).includes(SERVER), "not listed");
  expect((await mcpctl(gateway, "tools", SERVER)).includes(`${SERVER}__echo`), "no tools");
});

const toldBefore = clients.map(({ told }) => told.count);

await report.check("mcpctl remove", async () => {
  await mcpctl(gateway, "remove", SERVER);
});

for (const [i, one] of clients.entries()) {
  await report.check(`the ${one.kind} client is told and the tools are gone`, async () => {
    await until(REMOVED_MS, "tools/list_changed", () => one.told.count > toldBefore[i]);
    await until(REMOVED_MS, `no ${SERVER}__echo in tools/list`, async () => !(await offers(one)));
  });
}

await report.check("no process of it is left", async () => {
  await until(REMOVED_MS, "npx, sh and node to go", () => {
    const left = processesWith(mark);
    if (left.length > 0) throw new Error(JSON.stringify(left));
    return true;
  });
});

for (const { client } of clients) await client.close();
process.exit(report.status());
