"use strict";
// Runs when a project is built: makes one file of its workflows, so that a start is quick,
// and says which there are.
//
//   node bundle.cjs APP WORKFLOWS [ACTIVITIES]
//
// What it makes lies in APP/.agentcloud, activities in TypeScript among it. What a person must put right is told by a line
// that begins with "problem: ".

const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { compile } = require("./compile.cjs");
const { find, Problem } = require("./sdk.cjs");

const MOST_WORKFLOWS = 200;
const MOST_TEXT = 256 << 10; // of all descriptions

async function main([app, workflows, activities]) {
  const made = path.join(app, ".agentcloud");
  fs.rmSync(made, { recursive: true, force: true });
  fs.mkdirSync(made);
  const { worker, tool, version } = find(app);
  const interceptors = ours(made, tool);
  const source = path.join(app, workflows);
  const found = describe(await exportsOf(tool, source, path.join(made, "described.cjs"), workflows), workflows);
  if (activities) await exportsOf(tool, path.join(app, activities), path.join(made, "activities.cjs"), activities, true);
  const { code } = await worker.bundleWorkflowCode({ workflowsPath: source, workflowInterceptorModules: [interceptors], logger: new worker.DefaultLogger("WARN") });
  // On its first line, so that places in it stay: where it was made, for traces that a person reads.
  fs.writeFileSync(path.join(made, "workflows.js"), `globalThis.agentcloudBuilt=${JSON.stringify(app + path.sep)};` + code);
  fs.rmSync(path.join(made, "described.cjs"), { force: true });
  const text = JSON.stringify(found);
  if (text.length > MOST_TEXT) throw new Problem(`the descriptions of the workflows in ${workflows} have more than ${MOST_TEXT >> 10} KiB`);
  fs.writeFileSync(path.join(made, "workflows.json"), text);
  console.log(`bundled ${found.length} workflows with @temporalio/worker ${version}`);
}

/** What goes among the workflows' code, put beside it, where its packages are found from. */
function ours(made, tool) {
  for (const name of ["interceptors.cjs", "retries.cjs"]) fs.copyFileSync(path.join(__dirname, name), path.join(made, name));
  // The workflows' packages may lie below others, where their own are not found from here.
  fs.writeFileSync(path.join(made, "time.cjs"), `module.exports = require(${JSON.stringify(tool.resolve("@temporalio/common/lib/time"))});`);
  return path.join(made, "interceptors.cjs");
}

/** The exports of a module of any kind. The code of activities is not run: it may want what
 * only a worker has. */
async function exportsOf(tool, file, made, name, unseen) {
  if (!fs.existsSync(file)) throw new Problem(`there is no ${name}; correct node.workflows and node.activities in agentcloud.yaml, or have the build script make it`);
  try {
    if (file.endsWith(".ts")) await compile(tool, file, made);
    if (unseen) return undefined;
    const { default: whole, ...named } = await import(pathToFileURL(file.endsWith(".ts") ? made : file));
    return typeof whole === "object" ? { ...whole, ...named } : named;
  } catch (err) {
    console.error(err.stack);
    throw new Problem(`${name} cannot be loaded: ${err.message.split("\n")[0]}`);
  }
}

/** The workflows by name, and what the export `tools` says of them. */
function describe(all, file) {
  const names = Object.keys(all).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && isFunction(all[name])).sort();
  const said = all.tools ?? {};
  if (names.length === 0) throw new Problem(`${file} exports no function, so there is no workflow`);
  if (names.length > MOST_WORKFLOWS) throw new Problem(`${file} exports ${names.length} functions; at most ${MOST_WORKFLOWS} workflows are served`);
  for (const name of Object.keys(said)) {
    if (!names.includes(name)) throw new Problem(`tools.${name} in ${file} describes a workflow that is not exported; there are: ${names.join(", ")}`);
  }
  return names.map((name) => ({ name, description: "", ...told(said[name] ?? {}, name, file) }));
}

function told({ description = "", input }, name, file) {
  if (typeof description !== "string") throw new Problem(`tools.${name}.description in ${file} is no text`);
  if (input === undefined) return { description };
  if (input === null || typeof input !== "object" || (input.type ?? "object") !== "object") {
    throw new Problem(`tools.${name}.input in ${file} is no JSON schema of an object`);
  }
  return { description, input: { ...input, type: "object" } };
}

const isFunction = (value) => typeof value === "function" && !/^class\b/.test(Function.prototype.toString.call(value));

main(process.argv.slice(2)).catch((err) => {
  if (!(err instanceof Problem)) console.error(err.stack ?? String(err));
  console.log("problem: " + (err instanceof Problem ? err.message : `the workflows cannot be bundled: ${String(err.message ?? err).split("\n")[0]}`));
  process.exitCode = 1;
});
