package registrytest

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
)

// Scheduler is a scheduler for which every version is live at once, unless Answer
// says otherwise.
type Scheduler struct {
	schedulerv1.UnimplementedDeploymentsServiceServer

	mu       sync.Mutex
	answer   func(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error)
	deployed []*schedulerv1.DeployRequest
	removed  []string
	switches int64
}

// Answer says how deploys end from now on; nil: well.
func (s *Scheduler) Answer(f func(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Deployed are the deploys that were asked for.
func (s *Scheduler) Deployed() []*schedulerv1.DeployRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deployed)
}

// Switched counts one more switch.
func (s *Scheduler) Switched() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.switches++
	return s.switches
}

// Removed are the targets that were removed.
func (s *Scheduler) Removed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.removed)
}

// Deploy answers as it was told to.
func (s *Scheduler) Deploy(ctx context.Context, req *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	s.mu.Lock()
	s.deployed = append(s.deployed, req)
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		res := Live()
		res.SwitchNumber = s.Switched()
		return res, nil
	}
	return answer(ctx, req)
}

// Connect takes every server but those whose URL says that they are bad.
func (s *Scheduler) Connect(_ context.Context, req *schedulerv1.ConnectRequest) (*schedulerv1.ConnectResponse, error) {
	if strings.Contains(req.GetUrl(), "bad") {
		return &schedulerv1.ConnectResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, Error: "no MCP server answers at this URL"}, nil
	}
	return &schedulerv1.ConnectResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE}, nil
}

// Remove remembers the target.
func (s *Scheduler) Remove(_ context.Context, req *schedulerv1.RemoveRequest) (*schedulerv1.RemoveResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, req.GetTargetId())
	return &schedulerv1.RemoveResponse{}, nil
}

// Versions is the half of the scheduler that moves apps between versions.
type Versions struct {
	schedulerv1.UnimplementedVersionsServiceServer
	Scheduler *Scheduler
	// Previous is where a rollback without a version goes.
	Previous string
	// Fails says why no version becomes live; empty: each does.
	Fails string
	// Pinned is a version that cannot be deleted.
	Pinned string
	// Facts are told of versions, by id.
	Facts map[string]*schedulerv1.VersionFacts
	// Away says that it does not answer.
	Away bool
}

// PromoteVersion makes the version live, or says why not.
func (v *Versions) PromoteVersion(_ context.Context, req *schedulerv1.PromoteVersionRequest) (*schedulerv1.PromoteVersionResponse, error) {
	res := &schedulerv1.PromoteVersionResponse{VersionId: cmp.Or(req.GetVersionId(), v.Previous)}
	if v.Fails != "" {
		res.Outcome, res.Error = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, v.Fails
		return res, nil
	}
	res.Outcome, res.SwitchNumber = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE, v.Scheduler.Switched()
	return res, nil
}

// DescribeVersions tells Facts.
func (v *Versions) DescribeVersions(_ context.Context, req *schedulerv1.DescribeVersionsRequest) (*schedulerv1.DescribeVersionsResponse, error) {
	if v.Away {
		return nil, fault.Unavailable.Errorf("away")
	}
	res := &schedulerv1.DescribeVersionsResponse{}
	for _, id := range req.GetVersionIds() {
		if facts := v.Facts[id]; facts != nil {
			facts.VersionId = id
			res.Versions = append(res.Versions, facts)
		}
	}
	return res, nil
}

// DeleteVersion refuses the pinned one.
func (v *Versions) DeleteVersion(_ context.Context, req *schedulerv1.DeleteVersionRequest) (*schedulerv1.DeleteVersionResponse, error) {
	if req.GetVersionId() == v.Pinned {
		return nil, fault.Conflict.Errorf("a run needs it")
	}
	return &schedulerv1.DeleteVersionResponse{}, nil
}

// Rollouts is the part of the scheduler that tries versions. It remembers what it was
// asked, and knows one rollout.
type Rollouts struct {
	schedulerv1.UnimplementedRolloutsServiceServer
	Started []*schedulerv1.StartRolloutRequest
	Steered []*schedulerv1.SteerRolloutRequest
	Rollout *schedulerv1.Rollout
}

// StartRollout begins one.
func (r *Rollouts) StartRollout(_ context.Context, req *schedulerv1.StartRolloutRequest) (*schedulerv1.StartRolloutResponse, error) {
	r.Started = append(r.Started, req)
	r.Rollout = &schedulerv1.Rollout{RolloutId: "rol_1", TargetId: req.GetTargetId(), VersionId: req.GetVersionId(), StartedBy: req.GetStartedBy()}
	return &schedulerv1.StartRolloutResponse{Rollout: r.Rollout}, nil
}

// ListRollouts lists the one of its app.
func (r *Rollouts) ListRollouts(_ context.Context, req *schedulerv1.ListRolloutsRequest) (*schedulerv1.ListRolloutsResponse, error) {
	if r.Rollout.GetTargetId() != req.GetTargetId() {
		return &schedulerv1.ListRolloutsResponse{}, nil
	}
	return &schedulerv1.ListRolloutsResponse{Rollouts: []*schedulerv1.Rollout{r.Rollout}}, nil
}

// GetRollout tells of it.
func (r *Rollouts) GetRollout(context.Context, *schedulerv1.GetRolloutRequest) (*schedulerv1.GetRolloutResponse, error) {
	return &schedulerv1.GetRolloutResponse{Rollout: r.Rollout}, nil
}

// SteerRollout does nothing else.
func (r *Rollouts) SteerRollout(_ context.Context, req *schedulerv1.SteerRolloutRequest) (*schedulerv1.SteerRolloutResponse, error) {
	r.Steered = append(r.Steered, req)
	return &schedulerv1.SteerRolloutResponse{Rollout: r.Rollout}, nil
}

// Live is the answer for a version that serves.
func Live(userParams ...string) *schedulerv1.DeployResponse {
	return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE, UserParams: userParams}
}

// Failed is the answer for a version that does not.
func Failed(why string) *schedulerv1.DeployResponse {
	return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, Error: why}
}

// Secrets is a secrets-broker that has every handle but those in Unknown.
type Secrets struct {
	secretsv1.UnimplementedSecretsServiceServer
	Unknown []string
	// Listed are the secrets that there are.
	Listed []*secretsv1.Secret
}

// ListSecrets lists one a page.
func (s *Secrets) ListSecrets(_ context.Context, req *secretsv1.ListSecretsRequest) (*secretsv1.ListSecretsResponse, error) {
	at, _ := strconv.Atoi(req.GetPageToken())
	if at >= len(s.Listed) {
		return &secretsv1.ListSecretsResponse{}, nil
	}
	return &secretsv1.ListSecretsResponse{Secrets: s.Listed[at : at+1], NextPageToken: strconv.Itoa(at + 1)}, nil
}

// CheckHandles names the unknown ones.
func (s *Secrets) CheckHandles(_ context.Context, req *secretsv1.CheckHandlesRequest) (*secretsv1.CheckHandlesResponse, error) {
	res := &secretsv1.CheckHandlesResponse{}
	for _, handle := range req.GetHandles() {
		if slices.Contains(s.Unknown, handle) {
			res.Unknown = append(res.Unknown, handle)
		}
	}
	return res, nil
}

// KeyIn is the key in a bootstrap file.
func KeyIn(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal(raw, &content); err != nil || content.APIKey == "" {
		t.Fatalf("the file %s has no key: %s", file, raw)
	}
	return content.APIKey
}
