package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"
)

const (
	pollEvery = 250 * time.Millisecond
	// priorityKey is the _meta key by which the gateway takes a run's priority.
	priorityKey = "io.agentcloud/priority"
)

// status is what workflows-get_status tells.
type status struct {
	RunID  string          `json:"run_id"`
	Status string          `json:"status"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

// newRun runs a workflow to its end.
func newRun() *cobra.Command {
	var answer string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "run APP WORKFLOW [ARGUMENTS]", Short: "Run a workflow of a deployed app and print its result",
		Long:    "Run a workflow of a deployed app, as an MCP client does, and print its result. ARGUMENTS is a JSON object.",
		Example: "  agentcloud run hello Greet '{\"name\": \"Ada\"}'\n  agentcloud run hello Greet '{\"name\": \"Ada\"}' --priority 5", Args: cobra.RangeArgs(2, 3),
	}
	a := accessFlags(cmd)
	callFlags(cmd, &answer, &wait)
	priority := priorityFlag(cmd)
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withApp(cmd.Context(), args, answer, wait, func(ctx context.Context, s *mcp.ClientSession, arguments map[string]any) error {
			end, err := follow(ctx, s, args[1], arguments, *priority)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), *format, end, func(out io.Writer) error {
				_, err := fmt.Fprintln(out, plain(end.Result))
				return err
			})
		})
	}
	return cmd
}

// follow starts a workflow and asks how it is until it has ended.
func follow(ctx context.Context, s *mcp.ClientSession, workflow string, arguments map[string]any, priority int32) (status, error) {
	var run status
	params := &mcp.CallToolParams{Name: "workflows-" + workflow + "-run", Arguments: map[string]any{"run_parameters": arguments}}
	if priority != 0 {
		params.Meta = mcp.Meta{priorityKey: priority}
	}
	if err := ask(ctx, s, params, &run); err != nil {
		return run, err
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		now := status{RunID: run.RunID}
		how := &mcp.CallToolParams{Name: "workflows-get_status", Arguments: map[string]any{"run_id": run.RunID}}
		if err := ask(ctx, s, how, &now); err != nil {
			return now, err
		}
		switch now.Status {
		case "completed":
			return now, nil
		case "failed", "error", "cancelled", "canceled", "terminated", "timed_out":
			return now, fmt.Errorf("the run %s ended as %s: %s", run.RunID, now.Status, plain(now.Error))
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-ticker.C:
		}
	}
}

// ask calls a tool and reads its JSON result.
func ask(ctx context.Context, s *mcp.ClientSession, call *mcp.CallToolParams, into any) error {
	res, err := s.CallTool(ctx, call)
	if err != nil {
		return err
	}
	text := ""
	for _, part := range res.Content {
		if t, ok := part.(*mcp.TextContent); ok {
			text += t.Text
		}
	}
	if res.IsError {
		return errors.New(text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("%s answered what is no JSON: %.200s", call.Name, text)
	}
	return nil
}

// plain shows the value of a workflow's result, and a JSON string without its quotes.
func plain(raw json.RawMessage) string {
	var wrapped struct {
		Kind  string          `json:"kind"`
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(raw, &wrapped) == nil && wrapped.Kind == "workflow_result" {
		raw = wrapped.Value
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
