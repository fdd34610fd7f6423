/** An order that is packed, waits for a person, and is sent. */

import { condition, defineSignal, proxyActivities, setHandler, sleep } from "@temporalio/workflow";
import type * as activities from "./activities";

const { pack } = proxyActivities<typeof activities>({ startToCloseTimeout: "1 minute", heartbeatTimeout: "3 seconds" });

/** What the person says who resumes the run. */
const resume = defineSignal<[{ approved?: boolean }?]>("resume");

/** What the cloud tells those who call. */
export const tools = {
  Ship: {
    description: "Ship an order once somebody has approved it.",
    input: {
      properties: {
        order: { type: "string" },
        things: { type: "array", items: { type: "string" } },
        rest: { type: "integer", description: "milliseconds between approval and dispatch", default: 100 },
      },
      required: ["order", "things"],
      additionalProperties: false,
    },
  },
};

interface Order {
  order: string;
  things: string[];
  rest: number;
}

export async function Ship({ order, things, rest }: Order): Promise<string> {
  let decision: { approved?: boolean } | undefined;
  setHandler(resume, (said) => {
    decision = said ?? { approved: true };
  });
  const parcel = await pack(order, things);
  await condition(() => decision !== undefined);
  if (!decision?.approved) return `${order} is not sent`;
  await sleep(rest);
  return `${parcel} is sent`;
}

/** Takes any object, and fails as code does. */
export async function Lose(parcel: { name?: string }): Promise<never> {
  throw new RangeError(`${parcel.name ?? "the parcel"} is lost`);
}
