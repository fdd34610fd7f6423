package deployments

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// mostShown bounds what is told of a call and of its answer, bytes.
	mostShown = 2000
	// shortestHidden is the shortest secret that is looked for: shorter ones are words.
	shortestHidden = 8
)

// smoke makes the calls that the project asks for, until one is not answered as it should be.
func (s *steps) smoke(ctx context.Context, in flow.Version, look Look, c store.Capture) (*flow.Failure, error) {
	v, err := s.wanted(ctx, in.VersionID)
	if err != nil {
		return s.verdict(ctx, in, "smoke call", err)
	}
	file, _ := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson()) // the builder has checked it
	if mistakes := unfit(file.Smoke, v, c); len(mistakes) > 0 {
		return &flow.Failure{Reason: mistakes.Error()}, nil
	}
	for i, call := range file.Smoke {
		began := time.Now()
		if failure := s.smokeCall(ctx, v, look.ServerURL, call); failure != nil {
			failure.Step = fmt.Sprintf("%s %d of %d (agentcloud.yaml line %d)", stepSmoke, i+1, len(file.Smoke), lineOf(v, fmt.Sprintf("smoke.%d", i)))
			return s.failed(in, agentenv.RoleServer, *failure), nil
		}
		s.took(ctx, in, stepSmoke, began)
	}
	return nil, nil
}

func lineOf(v store.Version, field string) int {
	return int(projectfile.LineOf(v.Artifact.GetManifest().GetProjectLines(), field))
}

// unfit finds calls of tools that are not there, and of those that do not answer in the call.
func unfit(calls []projectfile.Smoke, v store.Version, c store.Capture) (all projectfile.Mistakes) {
	if len(calls) == 0 {
		return nil
	}
	tools, err := toolHashes(c.ToolsJSON)
	for i, call := range calls {
		var why string
		_, there := tools[call.Tool]
		switch {
		case slices.Contains(c.AsyncTools, call.Tool), c.Kind == string(agentenv.KindMCPAgent) && strings.HasPrefix(call.Tool, "workflows-"):
			why = fmt.Sprintf("the tool %q only begins a run, or asks for one; call a tool that answers itself", call.Tool)
		case err == nil && !there:
			why = fmt.Sprintf("this app has no tool %q; it has: %s", call.Tool, strings.Join(slices.Sorted(maps.Keys(tools)), ", "))
		default:
			continue
		}
		field := fmt.Sprintf("smoke.%d.tool", i)
		all = append(all, projectfile.Mistake{Line: lineOf(v, field), Field: field, Reason: why})
	}
	return all
}

// smokeCall makes one call; nil: the answer is as it should be.
func (s *steps) smokeCall(ctx context.Context, v store.Version, serverURL string, call projectfile.Smoke) *flow.Failure {
	within, err := call.Within()
	if err != nil {
		return &flow.Failure{Reason: err.Error()}
	}
	up, stop := s.whileUp(ctx, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID}, agentenv.RoleServer)
	defer stop()
	up, cancel := context.WithTimeout(up, within)
	defer cancel()
	result, err := s.prober.Call(up, serverURL, call.Tool, call.Arguments)
	if err != nil {
		why := reason(err)
		if errors.Is(up.Err(), context.DeadlineExceeded) {
			why = fmt.Sprintf("no answer within %s", within)
		} else {
			s.awaitEnd(up, v)
		}
		return &flow.Failure{Reason: fmt.Sprintf("the smoke call %s was not answered: %s", shown(call), s.hide(ctx, v, why))}
	}
	a, err := answerOf(result)
	why := misses(call.Expect, a)
	if err != nil {
		why = err.Error()
	}
	if why == "" {
		return nil
	}
	return &flow.Failure{
		Reason: fmt.Sprintf("the smoke call %s was not answered as agentcloud.yaml expects: %s", shown(call), why),
		Detail: "What came: " + cut(s.hide(ctx, v, came(call.Expect, a, result))),
	}
}

// endsWithin is how long after a broken call the end of its process is waited for.
const endsWithin = time.Second

// awaitEnd waits, not for long, until it is known that the server has ended, if it has.
func (s *steps) awaitEnd(ctx context.Context, v store.Version) {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	for ctx.Err() == nil {
		look, known := s.runtime.Look(v.TargetID, v.ID)
		if !known || look.Server.State != schedulerv1.AgentState_AGENT_STATE_READY {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// came is the part of an answer that was looked at.
func came(e projectfile.Expect, a answer, result json.RawMessage) string {
	if e.Path != "" && !a.isError {
		return cmp.Or(string(a.structured), "no structured answer")
	}
	return cmp.Or(a.text, string(result))
}

// shown is a call for people, on one line.
func shown(call projectfile.Smoke) string {
	var arguments bytes.Buffer
	if json.Compact(&arguments, call.Arguments) != nil {
		arguments.WriteString("{}")
	}
	return call.Tool + " " + cut(arguments.String())
}

func cut(text string) string {
	if len(text) <= mostShown {
		return text
	}
	return strings.ToValidUTF8(text[:mostShown], "") + " …"
}

// hide takes the version's secrets out of what an agent said: it is told and kept in the
// clear. Where they cannot be had it hides everything.
func (s *steps) hide(ctx context.Context, v store.Version, text string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	err := s.dropRemoved(ctx, &v)
	var values map[string]string
	if err == nil {
		values, err = s.values(ctx, v, handles(v.Artifact.GetManifest(), v.Params, v.Variables))
	}
	if err != nil {
		s.log.WarnContext(ctx, "an answer is not shown", "target", v.TargetID, "version", v.ID, "error", fault.Message(err))
		return "(not shown: the secrets that it may hold could not be looked up)"
	}
	// The longest first: one value may be a part of another.
	longest := func(a, b string) int { return cmp.Compare(len(b), len(a)) }
	for _, value := range slices.SortedFunc(maps.Values(values), longest) {
		if len(value) < shortestHidden {
			break
		}
		quoted, _ := json.Marshal(value) // a string always encodes
		text = strings.NewReplacer(value, "[secret]", string(quoted[1:len(quoted)-1]), "[secret]").Replace(text)
	}
	return text
}
