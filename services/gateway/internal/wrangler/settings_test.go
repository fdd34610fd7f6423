package wrangler_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

// fakeSecrets keeps values by handle; those of others cannot be set.
type fakeSecrets struct {
	secretsv1.UnimplementedSecretsServiceServer
	refuse error

	mu     sync.Mutex
	all    []*secretsv1.Secret
	values map[string]string
	others bool // what is there is another deployer's
}

func (s *fakeSecrets) CreateSecret(_ context.Context, req *secretsv1.CreateSecretRequest) (*secretsv1.CreateSecretResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := &secretsv1.Secret{SecretId: id.Secret.New(), Name: req.GetName(), Type: req.GetType()}
	s.all = append(s.all, secret)
	s.values[secret.GetSecretId()] = req.GetValue()
	return &secretsv1.CreateSecretResponse{Secret: secret, Success: true}, s.refuse
}

func (s *fakeSecrets) SetSecretValue(_ context.Context, req *secretsv1.SetSecretValueRequest) (*secretsv1.SetSecretValueResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.others {
		return nil, fault.Denied.Errorf("it is somebody else's")
	}
	s.values[req.GetSecretId()] = req.GetValue()
	return &secretsv1.SetSecretValueResponse{}, nil
}

func (s *fakeSecrets) ListSecrets(_ context.Context, req *secretsv1.ListSecretsRequest) (*secretsv1.ListSecretsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &secretsv1.ListSecretsResponse{}
	for _, secret := range s.all {
		if strings.Contains(secret.GetName(), req.GetNameFilter()) {
			answer.Secrets = append(answer.Secrets, secret)
		}
	}
	return answer, nil
}

func leaky(value string) string {
	return form("mcp_agent.deployed.config.yaml.mcpac.py", "name: n\nopenai:\n  api_key: "+value+"\n", "main.py", "app", "mcp_agent.config.yaml.mcpac.py", "name: n\n")
}

// What the command line leaves in the clear does not reach the builder.
func TestValuesInTheClearBecomeHandles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	for _, value := range []string{"sk-first", "sk-second"} {
		if a := w.put(t, leaky(value)); !a.Success {
			t.Fatalf("put = %+v", a)
		}
	}
	bundles := w.builder.committed()
	if len(w.builder.ids) != 1 {
		t.Errorf("the same files but for the value are %d bundles", len(w.builder.ids))
	}
	for path, text := range bundles[1] {
		if strings.Contains(text, "sk-") {
			t.Errorf("%s has the value: %s", path, text)
		}
	}
	if len(w.secrets.all) != 1 || w.secrets.all[0].GetName() != "apps/"+w.app+"/config/openai.api_key" || w.secrets.all[0].GetType() != "dev" {
		t.Fatalf("secrets = %v", w.secrets.all)
	}
	handle := w.secrets.all[0].GetSecretId()
	if got := bundles[1]["mcp_agent.deployed.secrets.yaml"]; w.secrets.values[handle] != "sk-second" || !strings.Contains(got, handle) {
		t.Errorf("overlay = %q, value %q", got, w.secrets.values[handle])
	}
	if got := bundles[1]["mcp_agent.config.yaml"]; got != "name: n\n" {
		t.Errorf("the project's own settings = %q", got)
	}
	w.secrets.others = true
	if a := w.put(t, leaky("sk-colleague's")); !a.Success || len(w.secrets.all) != 2 {
		t.Errorf("a colleague's deploy = %+v, secrets %v", a, w.secrets.all)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no YAML":   "a: [",
		"too large": strings.Repeat("# padding\n", 1<<17),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrangler.Defaults())
			w.put(t, form("main.py", "app", "mcp_agent.deployed.config.yaml.mcpac.py", text))
			records := w.registry.recorded()
			if len(records) != 1 || !strings.Contains(records[0].GetRefused(), "mcp_agent.deployed.config.yaml") || len(w.builder.committed()) != 0 {
				t.Errorf("recorded = %v", records)
			}
		})
	}
}

// A store that is away is no fault of the files: the uploader tries again.
func TestNothingIsUploadedWhileSecretsCannotBeKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	w.secrets.refuse = fault.Unavailable.Errorf("the secret store is away")
	if a := w.put(t, leaky("sk-1")); a.Success || len(w.builder.committed()) != 0 || len(w.registry.recorded()) != 0 {
		t.Errorf("put = %+v", a)
	}
}
