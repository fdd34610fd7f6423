"use strict";
// Secret values stay out of payloads and failures, and come back in activities.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const logs = require("../node_host/logs.cjs");
const secrets = require("../node_host/secrets.cjs");

const SECRETS = { mcpac_sc_1: 'a "quoted" välue', mcpac_sc_2: "sk-plain-key", mcpac_sc_3: "tiny", mcpac_sc_4: "sk-plain-key-$&" };
const kept = secrets.of(SECRETS);
const payload = (text, encoding = "json/plain") => ({ metadata: { encoding: Buffer.from(encoding) }, data: new TextEncoder().encode(text) });

async function sent(text, encoding) {
  const [got] = await kept.codecs[0].encode([payload(text, encoding)]);
  return Buffer.from(got.data).toString();
}

test("values travel as handles, and activities are given them", async () => {
  for (const handle of ["mcpac_sc_1", "mcpac_sc_2", "mcpac_sc_4"]) {
    const value = { config: { api_key: SECRETS[handle], texts: [`sée ${SECRETS[handle]}.`, 1, null] } };
    const text = await sent(JSON.stringify(value));
    assert.deepEqual(JSON.parse(text).config.api_key, "agentcloud-secret:" + handle);
    assert.deepEqual(kept.restored(JSON.parse(text)), value);
  }
});

test("what others have written in ASCII is found, too", async () => {
  assert.equal(await sent('"a \\"quoted\\" v\\u00e4lue"'), '"agentcloud-secret:mcpac_sc_1"');
});

test("words, and what is no JSON, are left alone", async () => {
  assert.equal(await sent('"a tiny thing"'), '"a tiny thing"');
  assert.equal(await sent("sk-plain-key", "binary/plain"), "sk-plain-key");
  assert.deepEqual(secrets.of(undefined).codecs, []);
});

test("a rotated value is given as the new one", async () => {
  assert.equal(secrets.of({ mcpac_sc_2: "sk-rotated" }).restored(JSON.parse(await sent('"sk-plain-key"'))), "sk-rotated");
});

test("failures do not quote", () => {
  logs.learn({ secrets: SECRETS });
  const err = kept.unquoted(new Error("refused", { cause: new DOMException("bad key sk-plain-key") }));
  assert.equal(err.cause.message, "bad key [secret]");
  assert.doesNotMatch(err.stack + err.cause.stack, /sk-plain/);
});
