package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// bundleWorkflows makes one file of a project's workflows, with its own packages, and
// writes down which there are. It loads the workflows' code, without any environment.
func (e *Engine) bundleWorkflows(ctx context.Context, a NodeApp, work, made, modules string, sink Sink) error {
	node, err := e.node()
	if err != nil {
		return err
	}
	host, err := agenthost.Extract(filepath.Join(work, "host"))
	if err != nil {
		return err
	}
	// Those that the worker will have, not those of a build.
	packages := filepath.Join(made, modulesFolder)
	if err := errors.Join(os.RemoveAll(packages), os.Symlink(filepath.Join(e.deps.Disk.Tool(modules), modulesFolder), packages)); err != nil {
		return fmt.Errorf("give the workflows their packages: %w", err)
	}
	args := []string{filepath.Join(host, agenthost.NodeBundle), made, a.Workflows}
	if file := activities(made, a.Node); file != "" {
		args = append(args, file)
	}
	sink("bundling the workflows of " + a.Workflows)
	out, err := e.run(ctx, command{path: node, work: work, args: args}, sink)
	switch {
	case errors.Is(err, errFailed):
		return workflowsProblem(out)
	case errors.Is(err, context.DeadlineExceeded):
		return e.explain(err, out, Wishes{})
	}
	return err
}

// workflowsProblem is what the host says of a project's workflows.
func workflowsProblem(out *tail) error {
	detail := out.detail()
	if reason, ok := strings.CutPrefix(lastLine(detail), agenthost.NodeProblem); ok {
		return &recipe.Problem{Reason: reason, Detail: strings.TrimSpace(strings.TrimSuffix(detail, lastLine(detail)))}
	}
	return &recipe.Problem{Reason: "the workflows could not be bundled; see the last lines", Detail: detail}
}

// activities is the file with a project's activities: the one it names, or the one beside
// its workflows; empty when there is none.
func activities(app string, n recipe.Node) string {
	if n.Activities != "" {
		return n.Activities
	}
	ending := path.Ext(n.Workflows)
	for _, name := range []string{"activities" + ending, "activities/index" + ending} {
		beside := path.Join(path.Dir(n.Workflows), name)
		if info, err := os.Stat(filepath.Join(app, filepath.FromSlash(beside))); err == nil && info.Mode().IsRegular() {
			return beside
		}
	}
	return ""
}

// NodeWorker is how the workflows of an app that was made are run; nil: it has none.
func (e *Engine) NodeWorker(app string, n recipe.Node) (*builderv1.Worker, error) {
	if n.Workflows == "" {
		return nil, nil
	}
	node, err := e.node()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(app, filepath.FromSlash(agenthost.NodeDescribed))) //nolint:gosec // the builder's own folder
	if err != nil {
		return nil, fmt.Errorf("read the description of workflows: %w", err)
	}
	var described []struct {
		Name, Description string
		Input             json.RawMessage
	}
	if err := json.Unmarshal(text, &described); err != nil {
		return nil, fmt.Errorf("read the description of workflows: %w", err)
	}
	worker := &builderv1.Worker{Node: node, Bundle: filepath.Join(app, filepath.FromSlash(agenthost.NodeBundled))}
	file := activities(app, n)
	if path.Ext(file) == ".ts" {
		file = agenthost.NodeActivities
	}
	if file != "" {
		worker.Activities = filepath.Join(app, filepath.FromSlash(file))
	}
	for _, w := range described {
		worker.Workflows = append(worker.Workflows, &builderv1.Workflow{Name: w.Name, Description: w.Description, InputSchemaJson: string(w.Input)})
	}
	return worker, nil
}
