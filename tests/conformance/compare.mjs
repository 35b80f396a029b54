// What the gateway passes against what the same fixture passes when it is served directly, scenario by scenario.
//
//   compare.mjs REVISION RESULTS EXPECTED_FAILURES [SCENARIO…]
//
// RESULTS holds direct/VERSION and TARGET/VERSION for each target below, each with what the suite of that version wrote; the
// targets are gateways. One line a scenario, and at the end `N passed, N failed`. With scenarios named, only these were
// run, and nothing is said of the others.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

// What the fixture reaches when it is served directly, by the version of the suite; and the gateways that are measured by
// it. Of the newer suite some scenarios are run but not scored: 3 of 2025-11-25, 13 of 2026-07-28.
const PLANS = {
  "2025-11-25": {
    reached: { "0.1.16": { scenarios: 32, checks: 44 }, "0.2.0-alpha.12": { scenarios: 33, checks: 84 } },
    targets: ["shared", "per-session"],
  },
  "2026-07-28": {
    reached: { "0.2.0-alpha.12": { scenarios: 50, checks: 196 } },
    targets: ["modern", "legacy"],
  },
};

// From worse to better. What a suite only tells (INFO) or leaves out (SKIPPED) is neither good nor bad.
const RANKS = ["FAILURE", "WARNING", "SKIPPED", "INFO", "SUCCESS"];

// Where another way is as good, in the suite's own words: "Server returned JSON responses (SSE streams optional)". The
// SDK answers each request with a stream, the gateway only those during which something is said.
const AS_GOOD = { "server-sse-streams-functional": "INFO" };

const [revision, results, expectedFile, ...named] = process.argv.slice(2);
const { reached: REACHED, targets: TARGETS } = PLANS[revision];
const expected = parse(readFileSync(expectedFile, "utf8")) ?? {};
let nPassed = 0;
let nFailed = 0;
let nKnown = 0;

function passed(what) {
  nPassed += 1;
  console.log(`ok    ${what}`);
}

function failed(what) {
  nFailed += 1;
  console.log(`FAIL  ${what}`);
}

// scenario -> its checks, from folders named `server-SCENARIO-TIMESTAMP`.
function scenariosIn(folder) {
  const scenarios = new Map();
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(name)?.[1];
    const file = join(folder, name, "checks.json");
    if (scenario && existsSync(file)) scenarios.set(scenario, JSON.parse(readFileSync(file, "utf8")));
  }
  return scenarios;
}

// check id -> its worst outcome.
function outcomes(checks) {
  const worst = new Map();
  for (const check of checks) {
    const before = worst.get(check.id);
    if (!before || rank(check) < rank(before)) worst.set(check.id, check);
  }
  return worst;
}

function rank(check) {
  return RANKS.indexOf(check.status);
}

function successes(checks) {
  return checks.filter((check) => check.status === "SUCCESS").length;
}

// A sentence for each check that came out worse through the gateway; one that succeeded directly has to succeed.
function shortcomings(direct, gateway) {
  const through = outcomes(gateway);
  const worse = [];
  for (const [id, check] of outcomes(direct)) {
    const came = through.get(id);
    if (came && AS_GOOD[id] === came.status) continue;
    if (check.status === "SUCCESS" && !came) worse.push(`${id}: not checked`);
    else if (came && rank(came) < rank(check)) worse.push(told(came));
  }
  for (const [id, check] of through) {
    const isBad = check.status === "FAILURE" || check.status === "WARNING";
    if (isBad && !direct.some((known) => known.id === id)) worse.push(told(check));
  }
  return worse;
}

function told(check) {
  return `${check.id}: ${check.status}: ${check.errorMessage ?? "no reason given"}`;
}

function compareScenario(target, version, scenario, direct, gateway) {
  const what = `${target} ${version} ${scenario}`;
  const reason = expected[target]?.[version]?.[scenario];
  const worse = gateway ? shortcomings(direct, gateway) : ["the suite left no result"];
  const score = `${successes(gateway ?? [])} of ${successes(direct)} checks`;
  if (worse.length === 0 && reason === undefined) {
    passed(`${what}: ${score}`);
  } else if (worse.length === 0) {
    failed(`${what}: passes now; take it out of ${expectedFile.split("/").pop()}`);
  } else if (reason === undefined) {
    failed(`${what}: ${score}\n        ${worse.join("\n        ")}`);
  } else {
    nKnown += 1;
    console.log(`known ${what}: ${score}, because ${reason}\n        ${worse.join("\n        ")}`);
  }
}

// The measure itself: if the fixture does not reach all there is, the comparison is worth nothing.
function judgeDirect(version, direct) {
  const bad = [...direct].filter(([, checks]) => checks.some((check) => check.status === "FAILURE"));
  for (const [scenario, checks] of bad) {
    const reasons = checks.filter((check) => check.status === "FAILURE").map(told);
    failed(`${version} ${scenario}, served directly\n        ${reasons.join("\n        ")}`);
  }
  const due = named.length > 0 ? { scenarios: named.length } : REACHED[version];
  const nChecks = [...direct.values()].reduce((sum, checks) => sum + successes(checks), 0);
  const came = `${direct.size} scenarios and ${nChecks} checks`;
  if (direct.size !== due.scenarios || (due.checks ?? nChecks) !== nChecks) {
    failed(`${version} served directly: ${came}, not ${due.scenarios} and ${due.checks ?? "any"}`);
  } else if (bad.length === 0) {
    passed(`${version} served directly: ${came}`);
  }
}

// What is expected to fail has to be something that can.
function judgeExpected(target, version, direct) {
  for (const scenario of Object.keys(expected[target]?.[version] ?? {})) {
    const wasRun = named.length === 0 || named.includes(scenario);
    if (wasRun && !direct.has(scenario)) {
      failed(`${target} ${version} ${scenario}: expected to fail, but there is no such scenario`);
    }
  }
}

for (const version of Object.keys(REACHED)) {
  const direct = scenariosIn(join(results, "direct", version));
  judgeDirect(version, direct);
  for (const target of TARGETS) {
    const gateway = scenariosIn(join(results, target, version));
    for (const [scenario, checks] of direct) compareScenario(target, version, scenario, checks, gateway.get(scenario));
    judgeExpected(target, version, direct);
  }
}
for (const [target, versions] of Object.entries(expected)) {
  if (!TARGETS.includes(target)) failed(`${expectedFile}: there is no target ${target}`);
  for (const version of Object.keys(versions ?? {})) {
    if (!(version in REACHED)) failed(`${expectedFile}: there is no version ${version}`);
  }
}
if (nKnown > 0) console.log(`${nKnown} known to fail`);
console.log(`${nPassed} passed, ${nFailed} failed`);
process.exit(nFailed > 0 ? 1 : 0);
