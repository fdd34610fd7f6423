"use strict";
// How a try ends that the host counts, with as much of the SDK as it needs.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { counted } = require("../node_host/tries.cjs");

class CompleteAsyncError extends Error {}
class CancelledFailure extends Error {}
class ApplicationFailure extends Error {
  static create = ({ message, type }) => Object.assign(new this(message), { type, nonRetryable: false });
  static fromError = (err, more) => Object.assign(err instanceof this ? err : this.create({ message: err.message, type: err.constructor.name }), more);
}
const sdk = { activity: { CompleteAsyncError }, common: { ApplicationFailure, CancelledFailure } };

function context(attempt, signal = new AbortController().signal) {
  return { info: { attempt }, cancelled: new Promise(() => {}), cancellationSignal: signal };
}

const fails = (err) => async () => { throw err; };

test("a result is a result", async () => {
  assert.equal(await counted(sdk, context(1), { errors: 2, limit: 60_000 }, async () => 5), 5);
});

test("the last error is final, and one before is not", async () => {
  const err = new RangeError("no luck");
  await assert.rejects(counted(sdk, context(2), { errors: 3 }, fails(err)), (got) => got === err);
  await assert.rejects(counted(sdk, context(3), { errors: 3 }, fails(err)), { message: "no luck", type: "RangeError", nonRetryable: true });
});

test("an activity that ends later, or was told to end, has not failed", async () => {
  await assert.rejects(counted(sdk, context(3), { errors: 3 }, fails(new CompleteAsyncError())), CompleteAsyncError);
  await assert.rejects(counted(sdk, context(3, AbortSignal.abort()), { errors: 3 }, fails(new CancelledFailure())), CancelledFailure);
});

test("a try that takes too long is an error, and its code is told", async () => {
  for (const attempt of [1, 2]) {
    const told = context(attempt);
    await assert.rejects(counted(sdk, told, { errors: 2, limit: 1 }, () => told.cancelled), { type: "TimeoutError", message: "it took longer than 0.001 s", nonRetryable: attempt === 2 });
    assert.ok(told.cancellationSignal.aborted);
  }
});
