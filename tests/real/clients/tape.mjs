// What went into the processes of a server and what came out of them, as `tee` has written it down.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The processes of this server so far, each as the number in the names of its tapes. */
export function processesOf(gateway, server) {
  const begins = `${server}.in.`;
  return readdirSync(gateway.tapes).filter((name) => name.startsWith(begins)).map((name) => name.slice(begins.length));
}

/** The messages of one direction (`in`, `out`) of one process, oldest first; a line that is not finished is not there. */
export function messages(gateway, server, direction, pid) {
  const text = readFileSync(join(gateway.tapes, `${server}.${direction}.${pid}`), "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** What this server was told, by all its processes together. */
export function told(gateway, server) {
  return processesOf(gateway, server).flatMap((pid) => messages(gateway, server, "in", pid));
}

/** What this server said, by all its processes together. */
export function said(gateway, server) {
  return processesOf(gateway, server).flatMap((pid) => messages(gateway, server, "out", pid));
}

/** The call of this tool with exactly these arguments, as the server got it. */
export function callOf(gateway, server, tool, args) {
  const due = JSON.stringify(args);
  return told(gateway, server).find(
    ({ method, params }) => method === "tools/call" && params.name === tool && JSON.stringify(params.arguments) === due,
  );
}
