"use strict";
// Runs among the workflows' code, in each run. It may use nothing but what workflows may.

const { ApplicationFailure, ContinueAsNew, DeterminismViolationError, TemporalFailure, defaultPayloadConverter } = require("@temporalio/workflow");
const { msToNumber } = require("./time.cjs"); // the build makes it
const retries = require("./retries.cjs");

/** Tells the worker that it is to say that an activity lives; its own code may not. */
const BEAT = "agentcloud-beat";
/** Tells the worker how many tries may end by an error, and how long one may take. */
const TRIES = "agentcloud-tries";

/** What the host has put before the bundle. */
const policy = globalThis.agentcloudPolicy ?? {};
const built = globalThis.agentcloudBuilt ?? "/";

/** err as the end of a run. Without this the SDK would try the same code for ever, and a
 * run stays with the version that it began on. */
function asFailure(err) {
  if (err instanceof TemporalFailure || err instanceof ContinueAsNew || err instanceof DeterminismViolationError) return err;
  const { name = "Error", message = String(err), stack } = err instanceof Error ? err : {};
  const failure = ApplicationFailure.create({ message: message || name, type: name, nonRetryable: true });
  if (stack) failure.stack = shorten(stack);
  return failure;
}

/** A trace without the SDK's frames, with paths as the project has them. */
const shorten = (stack) => stack.split("\n").filter((line) => !line.includes("/node_modules/@temporalio/")).join("\n").replaceAll(built, "");

async function execute(input, next) {
  try {
    return await next(input);
  } catch (err) {
    throw asFailure(err);
  }
}

const payload = (value) => defaultPayloadConverter.toPayload(value);

/** Has an activity tried as agentcloud.yaml says, and the end of a process noticed soon. */
async function scheduleActivity(input, next) {
  const rule = retries.ofStep(policy.retries ?? [], input.activityType);
  const { options, counted } = retries.withRoom(rule, retries.apply(rule, input.options, msToNumber), msToNumber);
  const headers = { ...input.headers, ...(counted && { [TRIES]: payload(counted) }) };
  if (input.options.heartbeatTimeout === undefined && policy.heartbeat) {
    options.heartbeatTimeout ??= policy.heartbeat * 1000;
    headers[BEAT] = payload(true);
  }
  return next({ ...input, options, headers });
}

/** The tries of a local activity are the worker's own; the end of a process counts as none. */
async function scheduleLocalActivity(input, next) {
  const { heartbeat_seconds, ...rule } = retries.ofStep(policy.retries ?? [], input.activityType);
  return next({ ...input, options: retries.apply(rule, input.options, msToNumber) });
}

exports.interceptors = () => ({ inbound: [{ execute }], outbound: [{ scheduleActivity, scheduleLocalActivity }] });
