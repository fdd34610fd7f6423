package registrytest

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

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
		return Live(), nil
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
