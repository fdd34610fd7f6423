"use strict";
// Log lines: one JSON object each on a descriptor of the runtime's, whatever way the
// project's code says something. The values this process was entrusted with are hidden.

const { AsyncLocalStorage } = require("node:async_hooks");
const { format } = require("node:util");
const { FD, writeLine } = require("./contract.cjs");

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
const MOST = 16 << 10; // characters of a message
const SHORTEST = 8; // shorter values are words; hiding them would garble every line

let pattern;
/** What the activity that runs just now adds to its lines. */
const ids = new AsyncLocalStorage();

/** Learns which values are secret. */
function learn(launch) {
  const values = [...Object.values(launch.env ?? {}), ...Object.values(launch.secrets ?? {}), launch.gateway?.token, launch.temporal?.api_key];
  const forms = new Set(values.filter((v) => v?.length >= SHORTEST).flatMap((v) => [v, JSON.stringify(v).slice(1, -1)]));
  const escaped = [...forms].sort((a, b) => b.length - a.length).map((v) => v.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  pattern = escaped.length ? new RegExp(escaped.join("|"), "g") : undefined;
}

const hide = (text) => (pattern ? text.replace(pattern, "[secret]") : text);

function write(level, logger, message, more = {}) {
  const text = hide(String(message));
  const msg = text.length > MOST ? text.slice(0, MOST) + "… (cut)" : text;
  writeLine(FD.log, { ts: new Date().toISOString(), level, logger, msg, ...ids.getStore(), ...more });
}

/** Makes lines of what is written to standard output and error. */
function capture() {
  for (const [stream, level, logger] of [[process.stdout, "INFO", "stdout"], [process.stderr, "ERROR", "stderr"]]) {
    let rest = "";
    stream.write = (chunk, encoding, done) => {
      const lines = (rest + (typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"))).split("\n");
      rest = lines.pop();
      if (rest.length > MOST) lines.push(rest), (rest = "");
      lines.filter((line) => line.trim()).forEach((line) => write(level, logger, line));
      const then = typeof encoding === "function" ? encoding : done;
      if (then) process.nextTick(then);
      return true;
    };
  }
  console.warn = (...args) => write("WARNING", "console", format(...args)); // it shares a stream with errors
}

/** What the SDK's logger is given, as a line. */
function ofSdk({ level, message, meta }) {
  if (level === "INFO" && meta?.sdkComponent === "worker") return; // what the host tells itself
  const { workflowId, workflowRunId, runId = workflowRunId, activityType, attempt, sdkComponent, error, ...rest } = meta ?? {};
  const told = {};
  for (const name of Object.keys(rest)) if (!OURS.has(name) && isPlain(rest[name])) told[name] = hide(String(rest[name]));
  const text = error?.stack ? `${message}\n${error.stack}` : message;
  write(level === "WARN" ? "WARNING" : level, sdkComponent === "worker" || sdkComponent === "core" ? "temporal" : (sdkComponent ?? "workflow"), text, {
    ...(runId && { run_id: runId }), ...(workflowId && { workflow_id: workflowId }), ...(activityType && { activity: activityType, attempt }),
    ...(Object.keys(told).length && { fields: told }),
  });
}

/** What every line of the SDK's has, and the version's readers know. */
const OURS = new Set(["namespace", "taskQueue", "workflowType", "activityId", "isLocal", "taskToken", "timestampNanos", "durationMs", "firstExecutionRunId"]);

const isPlain = (value) => ["string", "number", "boolean"].includes(typeof value);

/** A level of ours in the SDK's words. */
function levelOf(name) {
  const up = String(name ?? "info").toUpperCase();
  if (up === "WARNING") return "WARN";
  return LEVELS.includes(up) ? up : up === "CRITICAL" ? "ERROR" : "INFO";
}

module.exports = { learn, hide, write, capture, ofSdk, levelOf, ids };
