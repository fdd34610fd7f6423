"use strict";
// Which rule holds and what it does to an activity: the table that Python and Go read, too.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const retries = require("../node_host/retries.cjs");

const table = JSON.parse(fs.readFileSync(path.join(__dirname, "../../agentenv/testdata/retries.json"), "utf8"));
const ms = (span) => (typeof span === "number" ? span : { "1 minute": 60_000, "4s": 4000 }[span]);

test("the best rule is found", () => {
  for (const [name, want] of Object.entries(table.steps)) assert.equal(retries.ofStep(table.rules, name).max_attempts, want, name);
});

test("a rule becomes the same policy as in Python", () => {
  for (const [name, { rule, want }] of Object.entries(table.policies)) {
    const { retry = {} } = retries.withRoom(rule, retries.apply(rule, {}, ms), ms).options;
    const got = { attempts: retry.maximumAttempts, initial: retry.initialInterval / 1000, max: retry.maximumInterval / 1000, backoff: retry.backoffCoefficient, non_retryable: retry.nonRetryableErrorTypes };
    for (const [field, value] of Object.entries(want)) assert.deepEqual(got[field], value, `${name}: ${field}`);
  }
});

test("what a rule does not say stays", () => {
  const options = { startToCloseTimeout: "1 minute", heartbeatTimeout: "4s", retry: { initialInterval: "4s", maximumAttempts: 7 } };
  const { options: got, counted } = retries.withRoom({}, retries.apply({}, options, ms), ms);
  assert.deepEqual(got, options);
  assert.equal(counted, undefined);
  assert.deepEqual(retries.apply({ max_interval_seconds: 2 }, options, ms).retry, { initialInterval: 2000, maximumInterval: 2000, maximumAttempts: 7 });
  assert.equal(retries.apply({}, { startToCloseTimeout: 1 }, ms).retry, undefined);
});

test("times of a rule come before those of the code", () => {
  const rule = { start_to_close_seconds: 2, schedule_to_close_seconds: 5, heartbeat_seconds: 0.5 };
  assert.deepEqual(retries.apply(rule, { startToCloseTimeout: "1 minute" }, ms), { startToCloseTimeout: 2000, scheduleToCloseTimeout: 5000, heartbeatTimeout: 500 });
});

test("the host counts what may end by an error, before Temporal's limit", () => {
  const { options, counted } = retries.withRoom({ max_attempts: 3 }, { startToCloseTimeout: "1 minute" }, ms);
  assert.deepEqual(counted, { errors: 3, limit: 60_000 });
  assert.ok(options.startToCloseTimeout > 60_000);
  assert.equal(retries.withRoom({ max_attempts: 1 }, {}, ms).counted, undefined);
});
