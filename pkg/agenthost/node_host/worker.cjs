"use strict";
// Starts a project's workflows and activities on Temporal, with the project's own SDK:
//
//   node worker.cjs worker|replay
//
// How it is talked to is the contract of Go's package agentenv. The project's code is told
// nothing but its environment.

const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const contract = require("./contract.cjs");
const logs = require("./logs.cjs");
const replay = require("./replay.cjs");
const secrets = require("./secrets.cjs");
const { asking, interceptor } = require("./activities.cjs");
const { connect, polls } = require("./temporal.cjs");
const { find, Problem } = require("./sdk.cjs");

const BEGAN = Date.now();
const DRAIN = 20; // seconds, unless the launch document says
const BEYOND = 5; // seconds beyond the drain's own bound
const FAILED = 1, CRASHED = 70;

let serving = false;

/** Asked for by SIGTERM, after which nothing new is taken. */
function draining(seconds) {
  return new Promise((resolve) => {
    const asked = () => {
      contract.status("draining");
      setTimeout(() => leave(0), (seconds + BEYOND) * 1000).unref();
      process.once("SIGTERM", () => leave(0)).once("SIGINT", () => leave(0));
      resolve();
    };
    process.removeAllListeners("SIGTERM").removeAllListeners("SIGINT").once("SIGTERM", asked).once("SIGINT", asked);
  });
}

function leave(code) {
  process.exit(code);
}

/** The environment that the project's code finds. */
function prepare({ env = {}, program }) {
  const folders = program.path ?? [];
  Object.assign(process.env, program.env, env);
  process.env.PATH = [...folders, process.env.PATH].join(":");
}

/** The workflows' code with what the host tells it, on its first line: places in it stay. */
function bundle({ program, activity, retries }) {
  const policy = { heartbeat: activity?.heartbeat_seconds || 30, retries };
  return { code: `globalThis.agentcloudPolicy=${JSON.stringify(policy)};` + fs.readFileSync(program.worker.bundle, "utf8") };
}

async function activitiesOf({ program, gateway }, sdk) {
  const ours = { "agentcloud.ask": asking(sdk, gateway ?? {}) };
  if (!program.worker.activities) return ours;
  const { default: whole, ...named } = await import(pathToFileURL(program.worker.activities)).catch((err) => {
    logs.write("ERROR", "agentcloud.host", err.stack ?? err);
    throw new Problem(`the activities cannot be loaded: ${String(err.message ?? err).split("\n")[0]}`);
  });
  return { ...(typeof whole === "object" ? whole : {}), ...named, ...ours };
}

function options(launch, sdk, connection, activities) {
  const t = launch.temporal, drain = launch.drain_seconds || DRAIN, kept = secrets.of(launch.secrets);
  return {
    connection, namespace: t.namespace, taskQueue: t.task_queue, identity: t.identity, workflowBundle: bundle(launch), activities,
    workerDeploymentOptions: { version: { deploymentName: t.deployment_name, buildId: t.build_id }, useWorkerVersioning: true, defaultVersioningBehavior: "PINNED" },
    interceptors: { activity: [interceptor(sdk, kept)] }, dataConverter: { payloadCodecs: kept.codecs },
    shutdownGraceTime: drain * 1000, shutdownForceTime: (drain + BEYOND) * 1000, maxHeartbeatThrottleInterval: 5000,
    maxConcurrentActivityTaskExecutions: launch.slots?.steps || 100,
    ...(launch.slots?.workflows && { maxConcurrentWorkflowTaskExecutions: Math.max(2, launch.slots.workflows) }), // one would starve sticky queues
  };
}

async function work(launch, sdk) {
  const drained = draining(launch.drain_seconds || DRAIN);
  const connection = await connect(sdk.worker, launch.temporal);
  const worker = await sdk.worker.Worker.create(options(launch, sdk, connection, await activitiesOf(launch, sdk)));
  const running = worker.run();
  const ended = running.then(() => Promise.reject(new Problem("the Temporal worker ended by itself")));
  await Promise.race([polls(connection, launch.temporal), ended]);
  serving = true;
  contract.status("ready", { kind: launch.program.kind, workflows: launch.program.worker.workflows, host_ms: Date.now() - BEGAN });
  const replays = replay.all(launch, sdk, bundle(launch), drained); // beside the polling, for whoever decides whether this version goes live
  await Promise.race([drained, ended]);
  ended.catch(() => {}); // it does now, for it was told to
  logs.write("INFO", "agentcloud.host", "draining");
  worker.shutdown();
  await Promise.all([replays, running]).catch((err) => logs.write("WARNING", "agentcloud.host", `the drain was cut off: ${err.message}`));
}

/** The first thing that goes wrong is told as the end of this start, or of this process. */
function fatal(launch) {
  return (err) => {
    const reason = err instanceof Problem ? err.message : `the workflows' worker failed: ${String(err?.message ?? err).split("\n")[0]}`;
    logs.write("CRITICAL", "agentcloud.host", err?.stack ?? reason);
    if (serving) leave(CRASHED);
    contract.status("failed", { reason: logs.hide(reason), detail: logs.hide(String(err?.stack ?? "")).slice(-8000).replaceAll(launch.app_dir + path.sep, "") });
    leave(FAILED);
  };
}

async function main(role) {
  process.once("SIGTERM", () => leave(0)).once("SIGINT", () => leave(0)); // nothing has begun yet
  contract.status("starting");
  const launch = contract.readLaunch();
  logs.learn(launch);
  logs.capture();
  const failed = fatal(launch);
  process.on("uncaughtException", failed).on("unhandledRejection", failed);
  try {
    prepare(launch);
    process.chdir(launch.app_dir);
    const sdk = find(launch.app_dir);
    sdk.worker.Runtime.install({
      logger: new sdk.worker.DefaultLogger(logs.levelOf(launch.log_level), logs.ofSdk), shutdownSignals: [],
      telemetryOptions: { logging: { forward: {}, filter: sdk.worker.makeTelemetryFilterString({ core: "WARN", other: "ERROR" }) } },
    });
    if (role === "replay") await replay.all(launch, sdk, bundle(launch));
    else await work(launch, sdk);
  } catch (err) {
    failed(err);
  }
  leave(0);
}

main(process.argv[2]);
