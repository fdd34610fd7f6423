import { heartbeat, log, sleep } from "@temporalio/activity";

/** Takes the order's things from their shelves, one after another. */
export async function pack(order: string, things: string[]): Promise<string> {
  for (const thing of things) {
    await sleep(200);
    heartbeat();
    log.info(`packed ${thing} for ${order}`);
  }
  return `a parcel of ${things.length} for ${order}`;
}
