package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/hashicorp"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/vaulttest"
)

var prefixes atomic.Int64

// open returns a Vault that is signed in and runs until the test ends.
func open(t *testing.T, cfg hashicorp.Config) *hashicorp.Vault {
	t.Helper()
	v := begin(t, cfg)
	eventually(t, "sign-in", func() error { return v.Ready(t.Context()) })
	return v
}

// begin returns a Vault that runs until the test ends.
func begin(t *testing.T, cfg hashicorp.Config) *hashicorp.Vault {
	t.Helper()
	v, err := hashicorp.New(cfg, grpctest.Logger(t))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return v
}

// The cases share one server and change it, so they run one after another.
func TestRealServer(t *testing.T) {
	s := startServer(t)
	t.Run("suite", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) vault.Vault {
			t.Helper()
			cfg := s.config(t)
			cfg.Prefix = fmt.Sprintf("cloud%d", prefixes.Add(1)) // an empty vault
			s.allow(t, cfg.Prefix)
			return open(t, cfg)
		})
	})
	t.Run("documented policy", func(t *testing.T) { documentedPolicyIsEnough(t, s) })
	t.Run("no engine", func(t *testing.T) { missingEngineIsNamed(t, s) })
	t.Run("token file", func(t *testing.T) { tokenFileSignsIn(t, s) })
	t.Run("lease ends", func(t *testing.T) { signsInAgain(t, s) })
	t.Run("foreign paths", func(t *testing.T) { foreignPathsAreRefused(t, s) })
	t.Run("sealed", func(t *testing.T) { sealedIsUnavailable(t, s) })
}

// allow makes the role's policy the documented one, for a prefix.
func (s *server) allow(t *testing.T, prefix string) {
	t.Helper()
	must(t, s.root.Sys().PutPolicyWithContext(t.Context(), "agentcloud", strings.ReplaceAll(documentedPolicy(t), "agentcloud", prefix)))
}

func documentedPolicyIsEnough(t *testing.T, s *server) {
	s.allow(t, "agentcloud")
	cfg := s.config(t)
	v := open(t, cfg)
	if _, err := v.Put(t.Context(), "org_a/one", []byte("value")); err != nil {
		t.Errorf("Put() = %v, want nil", err)
	}
	if got, err := v.Get(t.Context(), "org_a/one"); err != nil || string(got) != "value" {
		t.Errorf("Get() = %q, %v, want value", got, err)
	}
	if err := v.Delete(t.Context(), "org_a/one"); err != nil {
		t.Errorf("Delete() = %v, want nil", err)
	}
	wrapped, err := v.Wrap(t.Context(), "org_a", []byte("key"))
	if err != nil {
		t.Fatalf("Wrap() = %v, want nil", err)
	}
	if got, err := v.Unwrap(t.Context(), "org_a", wrapped); err != nil || string(got) != "key" {
		t.Errorf("Unwrap() = %q, %v, want key", got, err)
	}
}

func missingEngineIsNamed(t *testing.T, s *server) {
	cfg := hashicorp.Defaults()
	cfg.Address, cfg.TokenFile, cfg.KVMount = s.address, s.file(t, s.root.Token()), "nowhere"
	v := begin(t, cfg)
	eventually(t, "a reason that names the fix", func() error {
		err := v.Ready(t.Context())
		if err == nil {
			t.Fatal("Ready() = nil without an engine")
		}
		if !strings.Contains(err.Error(), "vault secrets enable -path=nowhere") {
			return err
		}
		return nil
	})
	if _, err := v.Put(t.Context(), "org_a/one", []byte("value")); !fault.Unavailable.Is(err) {
		t.Errorf("Put() = %v, want unavailable", err)
	}
}

func tokenFileSignsIn(t *testing.T, s *server) {
	s.allow(t, "agentcloud")
	token, err := s.root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"agentcloud"}})
	must(t, err)
	cfg := hashicorp.Defaults()
	cfg.Address, cfg.TokenFile = s.address, s.file(t, token.Auth.ClientToken)
	v := open(t, cfg)
	if _, err := v.Put(t.Context(), "org_a/token", []byte("value")); err != nil {
		t.Errorf("Put() with a token file = %v, want nil", err)
	}
}

// The role's leases end after two seconds for good, and its secret id is exchanged meanwhile.
func signsInAgain(t *testing.T, s *server) {
	s.allow(t, "agentcloud")
	s.setTTL(t, "2s")
	defer s.setTTL(t, "1h")
	cfg := s.config(t)
	v := open(t, cfg)
	fresh := s.write(t, "auth/approle/role/agentcloud/secret-id", nil).Data["secret_id"].(string)
	must(t, os.WriteFile(cfg.SecretIDFile, []byte(fresh), 0o600))
	seen := s.accessors(t)
	known := len(seen)
	eventually(t, "two more sign-ins", func() error {
		if _, err := v.Put(t.Context(), "org_a/lease", []byte("value")); err != nil && !fault.Unavailable.Is(err) {
			t.Fatalf("Put() = %v, want nil or unavailable", err)
		}
		maps.Copy(seen, s.accessors(t))
		if len(seen) < known+2 {
			return errors.New("too few sign-ins")
		}
		return nil
	})
	eventually(t, "a value after the lease", func() error {
		_, err := v.Put(t.Context(), "org_a/lease", []byte("value"))
		return err
	})
}

// accessors stand for the tokens that are valid now.
func (s *server) accessors(t *testing.T) map[string]bool {
	t.Helper()
	list, err := s.root.Logical().ListWithContext(t.Context(), "auth/token/accessors")
	must(t, err)
	all := map[string]bool{}
	for _, accessor := range list.Data["keys"].([]any) {
		all[accessor.(string)] = true
	}
	return all
}

func foreignPathsAreRefused(t *testing.T, s *server) {
	s.allow(t, "agentcloud")
	cfg := s.config(t)
	cfg.Prefix = "another-cloud"
	v := open(t, cfg)
	_, err := v.Put(t.Context(), "org_a/one", []byte("canary"))
	if !fault.Unavailable.Is(err) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Put() outside the policy = %v, want unavailable, without the value", err)
	}
}

func sealedIsUnavailable(t *testing.T, s *server) {
	s.allow(t, "agentcloud")
	cfg := s.config(t)
	v := open(t, cfg)
	must(t, s.root.Sys().SealWithContext(t.Context()))
	if err := v.Ready(t.Context()); err == nil {
		t.Error("Ready() = nil while the server is sealed")
	}
	if _, err := v.Get(t.Context(), "org_a/one"); !fault.Unavailable.Is(err) {
		t.Errorf("Get() from a sealed server = %v, want unavailable", err)
	}
}

func TestAServerThatIsAway(t *testing.T) {
	t.Parallel()
	cfg := hashicorp.Defaults()
	cfg.Address, cfg.TokenFile = "http://127.0.0.1:1", "/nowhere"
	v, err := hashicorp.New(cfg, grpctest.Logger(t))
	must(t, err)
	if err := v.Ready(t.Context()); err == nil {
		t.Error("Ready() = nil before the sign-in")
	}
	if _, err := v.Get(t.Context(), "org_a/one"); !fault.Unavailable.Is(err) {
		t.Errorf("Get() = %v, want unavailable", err)
	}
}
