"use strict";
// Which rule of the project says how an activity is tried. It is bundled with the workflows,
// too, so it uses nothing. Python and Go find the same in one table of cases
// (pkg/agentenv/testdata/retries.json).

const CRASHES = 17; // tries that may end by a killed worker, beside those that end by an error
const LATER = 10_000; // milliseconds that Temporal waits for the end of a try beyond the host's own limit
const FIRST = 1000; // milliseconds before the second try, when nobody says

/** How well a pattern fits a name; undefined when it does not. */
function rank(pattern, name) {
  if (pattern === name) return [3, pattern.length];
  if (pattern === "*") return [0, 0];
  if (pattern.endsWith("*")) return name.startsWith(pattern.slice(0, -1)) ? [1, pattern.length - 1] : undefined;
  return name.endsWith("." + pattern) ? [2, pattern.length] : undefined;
}

/** The rule of agentcloud.yaml that fits best, the first of equals; one that says nothing
 * when none fits. Those of the framework's settings are not for these activities. */
function ofStep(rules, name) {
  let found = {}, at = [-1, 0];
  for (const rule of rules.filter((r) => !r.from_settings)) {
    const fit = rank(rule.pattern, name);
    if (fit && (fit[0] > at[0] || (fit[0] === at[0] && fit[1] > at[1]))) [found, at] = [rule, fit];
  }
  return found;
}

/** What options, an activity's in the SDK's words, become by a rule. What the rule does not
 * say stays. ms reads the SDK's spans as milliseconds. */
function apply(rule, options, ms) {
  const more = {};
  if (rule.start_to_close_seconds) more.startToCloseTimeout = rule.start_to_close_seconds * 1000;
  if (rule.schedule_to_close_seconds) more.scheduleToCloseTimeout = rule.schedule_to_close_seconds * 1000;
  if (rule.heartbeat_seconds) more.heartbeatTimeout = rule.heartbeat_seconds * 1000;
  const retry = { ...options.retry, ...policy(rule) };
  if (rule.max_interval_seconds) retry.initialInterval = Math.min(ms(retry.initialInterval ?? FIRST), retry.maximumInterval);
  return { ...options, ...more, ...(Object.keys(retry).length && { retry }) };
}

function policy(rule) {
  return {
    ...(rule.max_attempts && { maximumAttempts: rule.max_attempts }),
    ...(rule.initial_interval_seconds && { initialInterval: rule.initial_interval_seconds * 1000 }),
    ...(rule.max_interval_seconds && { maximumInterval: rule.max_interval_seconds * 1000 }),
    ...(rule.backoff && { backoffCoefficient: rule.backoff }),
    ...(rule.non_retryable && { nonRetryableErrorTypes: rule.non_retryable }),
  };
}

/** Options with room for tries that a killed worker ends, and what the host then counts
 * itself: errors, and tries that take longer than their time. With one try nobody counts. */
function withRoom(rule, options, ms) {
  if (!(rule.max_attempts > 1)) return { options, counted: undefined };
  const limit = options.startToCloseTimeout === undefined ? undefined : ms(options.startToCloseTimeout);
  const room = { ...options, retry: { ...options.retry, maximumAttempts: rule.max_attempts + CRASHES } };
  if (limit !== undefined) room.startToCloseTimeout = limit + LATER;
  return { options: room, counted: { errors: rule.max_attempts, ...(limit !== undefined && { limit }) } };
}

module.exports = { ofStep, apply, withRoom };
