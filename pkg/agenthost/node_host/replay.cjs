"use strict";
// Runs the histories of past runs against this version's code: does it still ask for the
// same things in the same order? Nothing is done meanwhile: the results of activities come
// from the history, and Temporal is not reached.

const contract = require("./contract.cjs");
const logs = require("./logs.cjs");

const ONE = 30_000; // milliseconds for one history
const LONGEST = 1500; // characters of a message

/** Reports each of the launch document's histories, in order, until stop. */
async function all(launch, sdk, workflowBundle, stop) {
  let over = false;
  stop?.then(() => (over = true));
  for (const history of launch.histories ?? []) {
    if (over) return;
    const began = Date.now();
    const verdict = await one(launch, sdk, workflowBundle, history);
    contract.writeLine(contract.FD.status, { state: "replayed", replay: { run_id: history.run_id, workflow_id: history.workflow_id, ms: Date.now() - began, ...verdict } });
    if (verdict.verdict !== "ok") logs.write("WARNING", "agentcloud.replay", `the past run ${history.workflow_id} (${history.run_id}), replayed on this version: ${verdict.verdict}: ${verdict.message}`);
  }
}

async function one(launch, { worker, proto }, workflowBundle, history) {
  if (!launch.program.worker.workflows.includes(history.type)) return { verdict: "missing", message: `this version has no workflow ${history.type}` };
  const message = (err) => logs.hide(rule(String(err?.message ?? err))).slice(0, LONGEST);
  try {
    const events = proto().temporal.api.history.v1.History.decode(Buffer.from(history.events, "base64"));
    await inTime(worker.Worker.runReplayHistory({ workflowBundle }, events, history.workflow_id));
    return { verdict: "ok" };
  } catch (err) {
    return { verdict: err.name === "DeterminismViolationError" ? "non-deterministic" : "failed", message: message(err) };
  }
}

/** The sentence in the core's account of its own structures. */
const rule = (text) => /Nondeterminism error: (.*?)(?:\\*", source: |$)/.exec(text)?.[1] ?? text.split("\n")[0];

function inTime(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the replay did not end within ${ONE / 1000} s`)), ONE);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

module.exports = { all };
