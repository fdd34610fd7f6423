"use strict";
// What goes with the project's activities: they say that they live, and one of our own asks
// people.

const logs = require("./logs.cjs");
const { counted } = require("./tries.cjs");

const BEAT = "agentcloud-beat", TRIES = "agentcloud-tries"; // as in interceptors.cjs

/** Gives activities their secrets, beats for those whose code need not, and counts the tries
 * of those with a rule. */
function interceptor(sdk, secrets) {
  return (context) => ({ inbound: { execute: (input, next) => logs.ids.run(idsOf(context.info), () => one(sdk, secrets, context, input, next)) } });
}

async function one(sdk, secrets, context, { args, ...rest }, next) {
  const input = { ...rest, args: secrets.restored(args) };
  const { [BEAT]: beat, [TRIES]: tries } = input.headers ?? {};
  const run = () => (beat ? beating(context, input, next) : next(input));
  try {
    return await (tries ? counted(sdk, context, sdk.common.defaultPayloadConverter.fromPayload(tries), run) : run());
  } catch (err) {
    throw secrets.unquoted(err);
  }
}

function idsOf({ workflowExecution, activityType, attempt }) {
  return { run_id: workflowExecution?.runId, workflow_id: workflowExecution?.workflowId, activity: activityType, attempt };
}

/** Says three times in the time allowed that the activity lives. */
async function beating(context, input, next) {
  let last; // what the code itself has said stays
  const beat = context.heartbeat.bind(context);
  context.heartbeat = (details) => beat((last = details));
  const timer = setInterval(() => beat(last), context.info.heartbeatTimeoutMs / 3);
  try {
    return await next(input);
  } finally {
    clearInterval(timer);
  }
}

const FIRST = 200, LONGEST = 5000; // milliseconds between two tries to reach the cloud
const HOLD = 30_000; // of one request

/** The activity agentcloud.ask: puts a question to people. The answer, an MCP result, comes
 * as the signal that `signal` names. */
function asking({ activity, common }, gateway) {
  return async ({ method = "elicitation/create", params = {}, signal }) => {
    if (!signal) throw common.ApplicationFailure.nonRetryable("agentcloud.ask needs the name of a signal", "TypeError");
    const { workflowId, runId } = activity.activityInfo().workflowExecution;
    const url = `${gateway.url}/internal/session/by-run/${encodeURIComponent(workflowId)}/${encodeURIComponent(runId)}/async-request`;
    const answer = await patiently(activity, url, gateway.token, { method, params, signal_name: signal });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok || said.error) throw common.ApplicationFailure.nonRetryable(`the question was not taken: ${said.error?.message ?? said.error ?? answer.status}`, "QuestionRefused");
  };
}

/** Tries again while the cloud is away; the activity's own time bounds it. */
async function patiently(activity, url, token, body) {
  const { cancellationSignal } = activity.Context.current();
  for (let wait = FIRST; ; wait = Math.min(2 * wait, LONGEST)) {
    try {
      const answer = await fetch(url, {
        method: "POST", body: JSON.stringify(body), signal: AbortSignal.any([cancellationSignal, AbortSignal.timeout(HOLD)]),
        headers: { "content-type": "application/json", "x-mcp-gateway-token": token, authorization: `Bearer ${token}` },
      });
      if (answer.status < 500) return answer;
    } catch (err) {
      if (cancellationSignal.aborted) throw err;
    }
    await activity.sleep(wait);
  }
}

module.exports = { interceptor, asking };
