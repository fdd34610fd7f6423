package secretsbroker_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker"
)

// canary is a value that may be nowhere but in the answer to who may read it.
const canary = "canary-7f3e9a51-value"

// written is a log that many may write.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func as(t *testing.T, who principal.Principal) context.Context {
	return principal.With(t.Context(), who)
}

// The whole room, as it stands on a laptop: a value is given to its owner and to the
// scheduler, and is in no error, no log and no file as it is.
func TestNoValueLeaks(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &written{}
	env := service.Env{
		Name: "secretsbroker", Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Bus: bustest.New(t), DataDir: dir, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, "room.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
	svc, err := secretsbroker.New(t.Context(), secretsbroker.Defaults(), env)
	if err != nil {
		t.Fatal(err)
	}
	sockets := grpctest.SocketDir(t)
	grpctest.ServeRoom(t, sockets, svc, env)
	client := secretsv1.NewSecretsServiceClient(grpctest.Dial(t, sockets, env.Name))
	ann := as(t, principal.Principal{Kind: principal.User, UserID: "u_ann", OrgID: "org_a"})
	scheduler := as(t, principal.Principal{Kind: principal.Service, Name: "scheduler", OrgID: "org_a"})

	made, err := client.CreateSecret(ann, &secretsv1.CreateSecretRequest{Name: "openai.api_key", Type: "usr", Value: canary})
	if err != nil {
		t.Fatal(err)
	}
	handle := made.GetSecret().GetSecretId()
	resolved, err := client.ResolveHandles(scheduler, &secretsv1.ResolveHandlesRequest{OrgId: "org_a", Handles: []string{handle}, Purpose: "app_1"})
	if err != nil || resolved.GetValues()[handle] != canary {
		t.Fatalf("ResolveHandles() = %d values, %v", len(resolved.GetValues()), err)
	}
	for what, call := range map[string]func() error{
		"a bad type": func() error {
			_, err := client.CreateSecret(ann, &secretsv1.CreateSecretRequest{Name: "a", Type: "x", Value: canary})
			return err
		},
		"a value that is too long": func() error {
			_, err := client.CreateSecret(ann, &secretsv1.CreateSecretRequest{Name: "a", Type: "dev", Value: strings.Repeat(canary, 10_000)})
			return err
		},
		"a handle that is not there": func() error {
			_, err := client.SetSecretValue(ann, &secretsv1.SetSecretValueRequest{SecretId: "mcpac_sc_none", Value: canary})
			return err
		},
		"a stranger": func() error {
			_, err := client.GetSecretValue(as(t, principal.Principal{Kind: principal.User, UserID: "u_x", OrgID: "org_x"}), &secretsv1.GetSecretValueRequest{SecretId: handle})
			return err
		},
	} {
		if err := call(); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error = %v, want one without the value", what, err)
		}
	}
	if !strings.Contains(log.String(), "secrets read for an agent") {
		t.Error("the read for an agent is not in the log")
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the value is in the log")
	}
	wantNowhere(t, dir)

	if _, err := client.DeleteSecret(ann, &secretsv1.DeleteSecretRequest{SecretId: handle}); err != nil {
		t.Fatal(err)
	}
	_, err = client.ResolveHandles(scheduler, &secretsv1.ResolveHandlesRequest{OrgId: "org_a", Handles: []string{handle}})
	if !fault.NotFound.Is(err) {
		t.Errorf("ResolveHandles() after the delete = %v, want not found", err)
	}
}

// wantNowhere searches every file of the room.
func wantNowhere(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path) //nolint:gosec // a file of the test
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("the value is in %s", filepath.Base(path))
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("searched %d files: %v", files, err)
	}
}
