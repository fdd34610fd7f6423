"use strict";
// The project's own Temporal packages: those that its lock pins.

const { createRequire } = require("node:module");
const path = require("node:path");

/** A reason that a person can act on. */
class Problem extends Error {}

/** Worker deployments, by which runs stay with their version, came with it. */
const OLDEST = [1, 12];

const ADVICE = "add @temporalio/worker, @temporalio/workflow and @temporalio/activity to its dependencies, and make package-lock.json anew with `npm install --package-lock-only`";

/** Finds the packages from the project's folder, and refuses those that are too old. */
function find(app) {
  const own = createRequire(path.join(app, "package.json"));
  let manifest, worker;
  try {
    manifest = own("@temporalio/worker/package.json");
    worker = createRequire(own.resolve("@temporalio/worker"));
    own.resolve("@temporalio/workflow");
  } catch (err) {
    if (err.code !== "MODULE_NOT_FOUND") throw err;
    throw new Problem(`the project has workflows, and not the package ${missing(err)}; ${ADVICE}`);
  }
  const [major, minor] = manifest.version.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new Problem(`@temporalio/worker ${manifest.version} cannot keep runs on the version they began on; ask for ${OLDEST.join(".")} or newer, of all @temporalio packages, and make package-lock.json anew`);
  }
  return { version: manifest.version, tool: worker, worker: own("@temporalio/worker"), activity: worker("@temporalio/activity"), common: worker("@temporalio/common"), proto: () => worker("@temporalio/proto") };
}

const missing = (err) => /Cannot find module '([^']+)'/.exec(err.message)?.[1].replace(/\/package\.json$/, "") ?? "@temporalio/worker";

module.exports = { find, Problem };
