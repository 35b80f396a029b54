// The processes that one run of these cases caused, told by a mark in their environment. Linux only.

import { readFileSync, readdirSync } from "node:fs";

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return ""; // it ended meanwhile
  }
}

/** Every process with exactly this `NAME=value` in its environment: pid, parent, process group and command line. */
export function processesWith(mark) {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => read(pid, "environ").split("\0").includes(mark))
    .map((pid) => {
      // The name, in brackets, may hold anything; state, parent and group follow it.
      const [, parent, group] = read(pid, "stat").split(") ").at(-1).split(" ");
      const command = read(pid, "cmdline").replaceAll("\0", " ").trim();
      return { pid: Number(pid), parent: Number(parent), group: Number(group), command };
    });
}
