"use strict";
// The launch document and the inherited file descriptors (Go: pkg/agentenv).

const fs = require("node:fs");

const FD = { launch: 3, log: 5, status: 6 };
const MAX_LAUNCH = 64 << 20;

/** Everything this process is told. */
function readLaunch() {
  const text = fs.readFileSync(FD.launch);
  fs.closeSync(FD.launch);
  if (text.length > MAX_LAUNCH) throw new Error(`the launch document is larger than ${MAX_LAUNCH} bytes`);
  return JSON.parse(text);
}

/** Writes one line; a runtime that is gone ends this process, too. */
function writeLine(fd, value) {
  const line = Buffer.from(JSON.stringify(value) + "\n");
  try {
    for (let at = 0; at < line.length; ) at += fs.writeSync(fd, line, at);
  } catch {
    // nobody listens any more
  }
}

let ended = false;

/** Tells how far this process has come. */
function status(state, facts = {}) {
  if (!ended) writeLine(FD.status, { state, ...facts });
  ended ||= state === "failed";
}

module.exports = { FD, readLaunch, writeLine, status };
