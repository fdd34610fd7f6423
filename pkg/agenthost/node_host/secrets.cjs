"use strict";
// Keeps secret values out of workflow histories: in each payload that leaves this process a
// value is written as the handle that it came from. Activities are given the value of today
// back, workflows are not: they can do no more with it, and what they say of it is recorded.
// Payloads that are not JSON pass as they are. (Python: agentcloud_host/secret_codec.py)

const { hide } = require("./logs.cjs");

const MARK = "agentcloud-secret:";
const SHORTEST = 6; // a shorter value is found in too many places that are not it
const DEEPEST = 10; // causes of an error

/** What a worker does with secrets, values by their handles. */
function of(secrets) {
  // The longest first: one value may be a part of another.
  const known = Object.entries(secrets ?? {}).filter(([, value]) => value.length >= SHORTEST).sort(([, a], [, b]) => b.length - a.length);
  const out = known.flatMap(([handle, value]) => forms(value).map((form) => [form, MARK + handle]));
  const values = known.map(([handle, value]) => [MARK + handle, value]);
  return {
    codecs: known.length ? [{ encode: async (payloads) => payloads.map((p) => without(p, out)), decode: async (payloads) => payloads }] : [],
    restored: (value) => (known.length ? restored(value, values) : value),
    unquoted,
  };
}

/** How a text may be written inside JSON, as bytes that are characters. */
function forms(value) {
  const json = JSON.stringify(value).slice(1, -1);
  const ascii = json.replace(/[\u0080-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  return [...new Set([json, ascii])].map((form) => Buffer.from(form).toString("latin1"));
}

function without(payload, pairs) {
  if (!Buffer.from(payload.metadata?.encoding ?? "").toString().startsWith("json/") || !payload.data) return payload;
  const data = Buffer.from(payload.data.buffer, payload.data.byteOffset, payload.data.length);
  const found = pairs.filter(([form]) => data.includes(form, 0, "latin1"));
  if (found.length === 0) return payload;
  return { ...payload, data: Buffer.from(replaced(data.toString("latin1"), found), "latin1") };
}

const replaced = (text, pairs) => pairs.reduce((rest, [from, to]) => rest.replaceAll(from, () => to), text);

/** A value of JSON with the secrets in its texts. */
function restored(value, pairs) {
  if (typeof value === "string") return value.includes(MARK) ? replaced(value, pairs) : value;
  if (Array.isArray(value)) return value.map((one) => restored(one, pairs));
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, restored(one, pairs)]));
}

/** An error, and its causes, without the values that they quote. */
function unquoted(err) {
  for (let one = err, depth = 0; one instanceof Error && depth < DEEPEST; one = one.cause, depth++) {
    for (const field of ["message", "stack"]) {
      const text = one[field], safe = typeof text === "string" ? hide(text) : text;
      if (safe !== text) Object.defineProperty(one, field, { value: safe, writable: true, configurable: true });
    }
  }
  return err;
}

module.exports = { of };
