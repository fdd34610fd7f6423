// An MCP server with the official SDK: one tool tells how far it is, one asks back.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "typescript", version: "1.0.0" });

const text = (text: string) => ({ content: [{ type: "text" as const, text }] });

server.registerTool(
  "count",
  { description: "Count to a number, and tell each step.", inputSchema: { to: z.number().int().min(1).max(100) } },
  async ({ to }, { _meta, sendNotification }) => {
    for (let progress = 1; progress <= to; progress++) {
      if (_meta?.progressToken !== undefined) {
        await sendNotification({
          method: "notifications/progress",
          params: { progressToken: _meta.progressToken, progress, total: to, message: `counted ${progress}` },
        });
      }
    }
    console.error(`counted to ${to}`); // a line of the app's log
    return text(`counted to ${to}`);
  },
);

server.registerTool("paint", { description: "Paint the wall; asks for the colour." }, async () => {
  const answer = await server.server.elicitInput({
    message: "Which colour?",
    requestedSchema: { type: "object", properties: { color: { type: "string" } }, required: ["color"] },
  });
  return text(answer.action === "accept" ? `the wall is ${answer.content?.color}` : "the wall stays as it is");
});

server.registerTool("greeting", { description: "What the variable GREETING says." }, async () => text(process.env.GREETING ?? "hello"));

await server.connect(new StdioServerTransport());
