"use strict";
// Connecting to Temporal, and knowing that a worker of ours really polls.

const { Problem } = require("./sdk.cjs");

const PATIENCE = 30_000; // milliseconds until an unreachable Temporal is a failed start
const WORKFLOW_QUEUE = 1;

/** Temporal may be restarting as this process starts; it is waited for, for a while. */
async function connect({ NativeConnection }, t) {
  const deadline = Date.now() + PATIENCE;
  for (let wait = 100; ; wait = Math.min(2 * wait, 2000)) {
    try {
      return await NativeConnection.connect({ address: t.address, tls: false, ...(t.api_key && { apiKey: t.api_key }) });
    } catch (err) {
      if (Date.now() + wait > deadline) throw new Problem(`Temporal did not answer at ${t.address} within ${PATIENCE / 1000} s: ${err.message}`);
    }
    await pause(wait);
  }
}

/** Returns once Temporal names us among the queue's pollers. */
async function polls(connection, t) {
  const request = { namespace: t.namespace, taskQueue: { name: t.task_queue }, taskQueueType: WORKFLOW_QUEUE };
  let last = "";
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await pause(50)) {
    try {
      const { pollers } = await connection.workflowService.describeTaskQueue(request);
      if (pollers.some((p) => p.identity === t.identity)) return;
    } catch (err) {
      last = ": " + err.message;
    }
  }
  throw new Problem(`the worker does not poll ${t.task_queue} after ${PATIENCE / 1000} s${last}`);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = { connect, polls };
