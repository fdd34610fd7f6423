"use strict";
// One try of an activity whose rule says how many may end by an error. Temporal counts the
// ends of a process as well, so errors, and tries that take too long, are counted here.

/** Runs a try. What ends it is final when no more are allowed. */
async function counted({ activity, common }, context, { errors, limit }, run) {
  const { cancellationSignal } = context; // ours comes beside it
  try {
    return await (limit ? within(common, context, limit, run) : run());
  } catch (err) {
    // Who was told to end has not failed, and an activity may say that it ends later.
    if (context.info.attempt < errors || cancellationSignal.aborted || err instanceof activity.CompleteAsyncError) throw err;
    throw common.ApplicationFailure.fromError(err, { nonRetryable: true });
  }
}

/** Ends run() when its time, in milliseconds, is over, and tells its code so. */
async function within(common, context, limit, run) {
  const over = new AbortController();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(common.ApplicationFailure.create({ message: `it took longer than ${limit / 1000} s`, type: "TimeoutError" }));
      over.abort(new common.CancelledFailure("TIMED_OUT"));
    }, limit);
  });
  tell(context, over.signal);
  return Promise.race([late, run()]).finally(() => clearTimeout(timer));
}

/** Has the activity's code cancelled by a signal of ours, too. */
function tell(context, signal) {
  const told = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  context.cancelled = Promise.race([context.cancelled, told]);
  context.cancelled.catch(() => {}); // not everybody asks
  context.cancellationSignal = AbortSignal.any([context.cancellationSignal, signal]);
}

module.exports = { counted };
