package hashicorp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/hashicorp"
)

const (
	tree      = "../../../../.."
	startTime = 30 * time.Second
)

// server is a real Vault with the mounts, the policy and the role of docs/secrets.md.
type server struct {
	address string
	root    *api.Client
	dir     string
}

func startServer(t *testing.T) *server {
	t.Helper()
	program, err := findProgram()
	if err != nil && os.Getenv("AGENTCLOUD_REQUIRE_VAULT") == "" {
		t.Skipf("no Vault server here (%v); `make test-vault` builds one and runs this", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: t.TempDir()}
	ready := filepath.Join(s.dir, "ready.json")
	cmd := exec.Command(program, "-listen", "127.0.0.1:0", "-ready-file", ready)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var note struct {
		Address   string `json:"address"`
		RootToken string `json:"root_token"`
	}
	eventually(t, "vaultd serves", func() error {
		raw, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &note)
	})
	s.address = note.Address
	s.root = s.client(t, note.RootToken)
	s.setUp(t)
	return s
}

func findProgram() (string, error) {
	path := os.Getenv("AGENTCLOUD_VAULTD")
	if path == "" {
		path = filepath.Join(tree, ".bin", "vaultd")
	}
	_, err := os.Stat(path)
	return path, err
}

func (s *server) client(t *testing.T, token string) *api.Client {
	t.Helper()
	settings := api.DefaultConfig()
	settings.Address = s.address
	client, err := api.NewClient(settings)
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(token)
	return client
}

// setUp is what docs/secrets.md asks of an operator.
func (s *server) setUp(t *testing.T) {
	t.Helper()
	sys := s.root.Sys()
	must(t, sys.MountWithContext(t.Context(), "secret", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}))
	must(t, sys.MountWithContext(t.Context(), "transit", &api.MountInput{Type: "transit"}))
	must(t, sys.EnableAuthWithOptionsWithContext(t.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	must(t, sys.PutPolicyWithContext(t.Context(), "agentcloud", documentedPolicy(t)))
	s.setTTL(t, "1h")
	eventually(t, "the KV engine is ready", func() error {
		_, err := s.root.KVv2("secret").Put(t.Context(), "probe", map[string]any{"x": "y"})
		return err
	})
}

// documentedPolicy is the policy that the documentation gives to operators.
func documentedPolicy(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(tree, "docs", "secrets.md"))
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "```hcl\n")
	policy, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/secrets.md has no policy")
	}
	return policy
}

func (s *server) setTTL(t *testing.T, ttl string) {
	t.Helper()
	s.write(t, "auth/approle/role/agentcloud", map[string]any{"token_policies": "agentcloud", "token_ttl": ttl, "token_max_ttl": ttl})
}

func (s *server) write(t *testing.T, at string, data map[string]any) *api.Secret {
	t.Helper()
	secret, err := s.root.Logical().WriteWithContext(t.Context(), at, data)
	must(t, err)
	return secret
}

// config signs in by AppRole.
func (s *server) config(t *testing.T) hashicorp.Config {
	t.Helper()
	cfg := hashicorp.Defaults()
	cfg.Address = s.address
	role, err := s.root.Logical().ReadWithContext(t.Context(), "auth/approle/role/agentcloud/role-id")
	must(t, err)
	cfg.RoleIDFile = s.file(t, role.Data["role_id"])
	cfg.SecretIDFile = s.file(t, s.write(t, "auth/approle/role/agentcloud/secret-id", nil).Data["secret_id"])
	return cfg
}

func (s *server) file(t *testing.T, content any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credential")
	must(t, os.WriteFile(path, fmt.Appendln(nil, content), 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks until check is content.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, startTime, err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}
