package runs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/retries"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// workflowTaskTimeout lets a workflow class block its thread for a while, as code
// written for a laptop does.
const workflowTaskTimeout = 60 * time.Second

const maxKey = 200

// start is a run about to be started.
type start struct {
	target  store.Target
	version store.Version
	name    string
	tool    bool
	args    []member
	id      string
	keyed   bool
	userID  string
	labels  []string
	// priority says how early it is served, and whose share of the queue it takes.
	priority temporal.Priority
	item     *Item // of a batch; nil: none
}

// StartRun starts a run on the live version of a target, or on the one that is tried.
func (s *Service) StartRun(ctx context.Context, req *schedulerv1.StartRunRequest) (*schedulerv1.StartRunResponse, error) {
	run, err := s.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	return s.begin(ctx, run, req)
}

// begin starts what was prepared and writes it down, with what the request says about
// its caller.
func (s *Service) begin(ctx context.Context, run start, req *schedulerv1.StartRunRequest) (*schedulerv1.StartRunResponse, error) {
	defer s.deps.Bell.Hold(ctx, run.target.ID)()
	if run.tool {
		s.deps.Tools.Ensure(run.target.OrgID)
	}
	workflowID, runID, err := s.execute(ctx, run)
	if err != nil {
		return nil, err
	}
	err = s.deps.Record.Started(ctx, store.Run{
		RunID: runID, WorkflowID: workflowID, TargetID: run.target.ID, OrgID: run.target.OrgID,
		VersionID: run.version.ID, Type: run.workflowType(), SessionID: req.GetSessionId(), UserID: run.userID,
		ProgressToken: req.GetProgressTokenJson(), StartedAt: s.deps.Now(),
	})
	if err != nil {
		return nil, err
	}
	return &schedulerv1.StartRunResponse{WorkflowId: workflowID, RunId: runID}, nil
}

// prepare decides what to start.
func (s *Service) prepare(ctx context.Context, req *schedulerv1.StartRunRequest) (start, error) {
	run := start{name: req.GetName(), userID: principal.From(ctx).UserID}
	known, err := s.resolve(ctx, req.GetTargetId(), req.GetVersionId(), &run)
	if err != nil {
		return run, err
	}
	if run.args, err = known.params.check(req.GetArgumentsJson()); err != nil {
		return run, err
	}
	if run.labels, err = labelsOf(req.GetLabels()); err != nil {
		return run, err
	}
	share, err := s.deps.Priorities.Of(ctx, principal.From(ctx), run.target)
	if err != nil {
		return run, err
	}
	if run.priority, err = share.Priority(req.GetPriority(), known.priority); err != nil {
		return run, err
	}
	run.id, run.keyed, err = s.workflowID(req)
	return run, err
}

// resolve finds what a name means on a version of a target, and what it takes; version is
// as a start asks for it.
func (s *Service) resolve(ctx context.Context, targetID, version string, run *start) (known signature, err error) {
	if run.target, err = s.deps.Store.RecentTarget(ctx, targetID); err != nil {
		return known, err
	}
	if run.target.Live == "" {
		return known, fault.Unavailable.Errorf("this app has no live version; deploy it first")
	}
	if version, err = s.startsOn(ctx, run.target, version); err != nil {
		return known, err
	}
	known, err = s.signature(ctx, version, run.name)
	run.version, run.tool = known.version, known.tool
	return known, err
}

// workflowID is new, or the same for the same key.
func (s *Service) workflowID(req *schedulerv1.StartRunRequest) (id string, keyed bool, err error) {
	key := req.GetIdempotencyKey()
	switch {
	case key == "":
		return req.GetName() + "-" + s.deps.NewUUID(), false, nil
	case len(key) > maxKey:
		return "", false, fault.Invalid.Errorf("the idempotency key has %d bytes; at most %d are taken", len(key), maxKey)
	}
	text := strings.Join([]string{req.GetTargetId(), req.GetName(), key}, "\x00")
	return req.GetName() + "-" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(text)).String(), true, nil
}

// schemaOf finds what a workflow or tool of a version takes.
func schemaOf(c store.Capture, name string) (schema json.RawMessage, tool bool, err error) {
	isClass := slices.Contains(c.Workflows, name)
	tool = !isClass && (slices.Contains(c.SyncTools, name) || slices.Contains(c.AsyncTools, name))
	if !isClass && !tool {
		known := slices.Concat(c.Workflows, c.AsyncTools, c.SyncTools)
		return nil, false, fault.NotFound.Errorf("this app has no workflow %q; it has: %s", name, strings.Join(known, ", "))
	}
	var workflows map[string]struct {
		RunParameters json.RawMessage `json:"run_parameters"`
	}
	if c.WorkflowsJSON != "" {
		if err := json.Unmarshal([]byte(c.WorkflowsJSON), &workflows); err != nil {
			return nil, false, fmt.Errorf("read captured workflows: %w", err)
		}
	}
	return workflows[name].RunParameters, tool, nil
}

func (r start) workflowType() string {
	if r.tool {
		return agentenv.ToolWorkflow(r.name)
	}
	return r.name
}

// role is whose work the run is.
func (r start) role() agentenv.Role {
	if r.tool {
		return agentenv.RoleServer
	}
	return agentenv.RoleWorker
}

// texts are one a parameter for a workflow class, one object for a tool or a workflow in
// another language.
func (r start) texts() []json.RawMessage {
	if r.tool || wholeObject(r.version) {
		return []json.RawMessage{object(r.args)}
	}
	var texts []json.RawMessage
	for _, arg := range r.args {
		texts = append(texts, arg.value)
	}
	return texts
}

// payloads carry them; large ones are kept outside of the history.
func (s *Service) payloads(ctx context.Context, r start) ([]any, error) {
	var all []any
	for _, text := range r.texts() {
		payload, err := s.payload(ctx, payloads.Scope{OrgID: r.target.OrgID, WorkflowID: r.id}, text)
		if err != nil {
			return nil, err
		}
		all = append(all, payload)
	}
	return all, nil
}

// payload carries JSON as it is, numbers and order included.
func (s *Service) payload(ctx context.Context, scope payloads.Scope, text json.RawMessage) (converter.RawValue, error) {
	payload, err := s.deps.Payloads.Encode(ctx, scope, inJSON(text))
	return converter.NewRawValue(payload), err
}

func inJSON(text json.RawMessage) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: text}
}

func (r start) options(policy flow.ActivityPolicy) client.StartWorkflowOptions {
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(r.target.ID),
	}
	options := client.StartWorkflowOptions{
		ID: r.id, TaskQueue: agentenv.TaskQueue(r.target.ID), WorkflowTaskTimeout: workflowTaskTimeout,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     map[string]any{},
		// Steps and child runs inherit it.
		Priority:           r.priority,
		VersioningOverride: r.pin(),
	}
	if r.userID != "" {
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(flow.CallerAttribute).ValueSet(r.userID))
	}
	if len(r.labels) > 0 {
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeywordList(flow.LabelsAttribute).ValueSet(r.labels))
	}
	if r.keyed {
		options.Memo[flow.MemoArguments] = r.digest()
	}
	if r.tool {
		options.TaskQueue, options.WorkflowTaskTimeout = flow.ToolsQueue, 0
		options.Memo[flow.MemoToolsQueue] = agentenv.ToolsQueue(r.target.ID, r.version.ID)
		options.Memo[flow.MemoActivity] = retries.Policy(policy, r.version.Retries, r.name)
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(flow.VersionAttribute).ValueSet(r.version.ID))
	}
	options.TypedSearchAttributes = temporal.NewSearchAttributes(attributes...)
	r.item.mark(&options)
	if options.Priority.PriorityKey != priorities.Usual {
		options.Memo[flow.MemoPriority] = options.Priority.PriorityKey
	}
	return options
}

// execute starts the run, or finds the one that the same key started.
func (s *Service) execute(ctx context.Context, r start) (workflowID, runID string, err error) {
	args, err := s.payloads(ctx, r)
	if err != nil {
		return "", "", err
	}
	seat := s.seat(ctx, r)
	defer seat.Release()
	ctx = headroom.With(ctx, seat)
	s.deps.Bell.Needed(r.version.ID, r.role()) // before there is work for it
	for attempt := 0; ; attempt++ {
		c, err := s.client(ctx, r.target)
		if err != nil {
			return "", "", err
		}
		started, err := c.ExecuteWorkflow(ctx, r.options(s.deps.Policy), r.workflowType(), args...)
		if err == nil {
			return started.GetID(), started.GetRunID(), nil
		}
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		if errors.As(err, &already) && r.keyed {
			return r.id, already.RunId, s.sameArguments(ctx, c, r, already.RunId)
		}
		if namespaces.IsNoNamespace(err) && attempt == 0 {
			s.deps.Namespaces.Forget(r.target.OrgID)
			continue
		}
		if unheard(err) && attempt < unheardTries && pause(ctx, unheardPause) {
			continue
		}
		return "", "", away(err)
	}
}

// seat is the poll of a worker that is to make the first move of a run at once, if the
// run is more urgent than what is begun there. Moves of a tool's run are made here.
func (s *Service) seat(ctx context.Context, r start) *headroom.Seat {
	if r.tool {
		return nil
	}
	return s.deps.Headroom.Reserve(ctx, r.target.ID, r.version.ID, int32(r.priority.PriorityKey)) //nolint:gosec // 1 to 5
}

// digest tells arguments from others without keeping them.
func (r start) digest() string {
	sum := sha256.Sum256(object(r.args))
	return hex.EncodeToString(sum[:])
}

// sameArguments fails with fault.Conflict when a key found a run that was started with
// other arguments. Runs of earlier versions of this program do not say with which.
func (s *Service) sameArguments(ctx context.Context, c client.Client, r start, runID string) error {
	found, err := c.DescribeWorkflowExecution(ctx, r.id, runID)
	if err != nil {
		return away(err)
	}
	if digest := text(found.GetWorkflowExecutionInfo().GetMemo().GetFields()[flow.MemoArguments]); digest == "" || digest == r.digest() {
		return nil
	}
	return fault.Conflict.Errorf("this idempotency key was used with other arguments; take a new one")
}
