package artifact_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/artifact"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

const grace = time.Hour

// fakeEngine makes folders in place of environments.
type fakeEngine struct {
	disk  *disk.Disk
	store *store.Store
	now   func() time.Time

	mu     sync.Mutex
	wishes []engine.Wishes
	// compiled are the folders, each after its environment.
	compiled []string
	made     int // tools
	install  func(ctx context.Context, w engine.Wishes, sink engine.Sink) error
}

func (e *fakeEngine) Interpreters(context.Context) ([]recipe.Interpreter, error) {
	return []recipe.Interpreter{{Version: "3.11.9", Path: "/python"}}, nil
}

func (e *fakeEngine) LookAround(ctx context.Context) ([]recipe.Interpreter, error) {
	return e.Interpreters(ctx)
}

func (e *fakeEngine) Environment(ctx context.Context, w engine.Wishes, sink engine.Sink) (string, error) {
	e.mu.Lock()
	e.wishes = append(e.wishes, w)
	install := e.install
	e.mu.Unlock()
	if install != nil {
		if err := install(ctx, w, sink); err != nil {
			return "", err
		}
	}
	digest := fmt.Sprintf("%x", fmt.Sprint(w.Requirements))
	if err := os.MkdirAll(e.disk.Environment(digest), 0o700); err != nil {
		return "", err
	}
	return digest, e.store.UseEnvironment(ctx, store.Environment{Digest: digest, Kind: store.KindEnvironment, UsedAt: e.now()})
}

func (e *fakeEngine) Compile(_ context.Context, environment, dir string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.compiled = append(e.compiled, e.disk.Environment(environment), dir)
	_, err := os.Stat(e.disk.Environment(environment))
	return err
}

func (e *fakeEngine) NodeVersion(context.Context) (string, error) { return "20.1.0", nil }

func (e *fakeEngine) NodeProgram() (string, error) { return "/usr/bin/node", nil }

func (e *fakeEngine) NodeWorker(string, recipe.Node) (*builderv1.Worker, error) { return nil, nil }

func (e *fakeEngine) Executable(string) error { return nil }

func (e *fakeEngine) Image(ctx context.Context, image engine.Image, _ engine.Sink) (string, error) {
	return e.tool(ctx, "image-of-"+image.Ref)
}

func (e *fakeEngine) ImageSays(string) (engine.ImageSays, error) {
	return engine.ImageSays{
		Args: []string{"/own", "x"}, Env: map[string]string{"A": "a", "B": "b"}, Folder: "/", UID: 7, GID: 8, Rootfs: "/root", Runc: "/usr/sbin/runc",
	}, nil
}

func (e *fakeEngine) NodeApp(ctx context.Context, a engine.NodeApp, _ engine.Sink) (app, modules string, err error) {
	app, err = e.tool(ctx, "app-of-"+a.Digest)
	return app, app, err
}

// digest names a tool in a way that a folder can have.
func digest(name string) string { return fmt.Sprintf("%x", name) }

// tool makes the folder of a tool.
func (e *fakeEngine) tool(ctx context.Context, name string) (string, error) {
	e.mu.Lock()
	e.made++
	e.mu.Unlock()
	if err := os.MkdirAll(e.disk.Tool(digest(name)), 0o700); err != nil {
		return "", err
	}
	return digest(name), e.store.UseEnvironment(ctx, store.Environment{Digest: digest(name), Kind: store.KindTool, UsedAt: e.now()})
}

func (e *fakeEngine) NodeTool(context.Context, []string, engine.Sink) (string, error) {
	return "", fmt.Errorf("no tools here")
}

func (e *fakeEngine) Claim(_ context.Context, digest, kind string) (bool, error) {
	if kind == store.KindTool {
		return disk.Exists(e.disk.Tool(digest)), nil
	}
	return disk.Exists(e.disk.Environment(digest)), nil
}

func (e *fakeEngine) PythonCommand(string, string) (string, []string, error) { return "", nil, nil }

func (e *fakeEngine) NodeCommand(string, []string, string) (string, []string, error) {
	return "", nil, nil
}
func (e *fakeEngine) PruneCaches(context.Context) (int64, error) { return 0, nil }

func (e *fakeEngine) installs() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.wishes)
}

type world struct {
	disk      *disk.Disk
	store     *store.Store
	engine    *fakeEngine
	service   *artifact.Service
	client    builderv1.BuildsServiceClient
	ahead     atomic.Int64 // how far the clock is put forward
	mu        sync.Mutex
	published []*busv1.LogBatch
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func newWorld(t *testing.T, parallel int) *world {
	t.Helper()
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{disk: d, store: store.New(dbtest.SQLite(t, store.Migrations()))}
	w.engine = &fakeEngine{disk: d, store: w.store, now: w.now}
	var n atomic.Int64
	w.service = artifact.NewService(artifact.Deps{
		Store: w.store, Disk: d, Engine: w.engine, Publish: w.publish, Log: grpctest.Logger(t), Now: w.now,
		NewID: func() string { return fmt.Sprint("build", n.Add(1)) },
		Options: artifact.Options{
			Prefer: []string{"3.11"}, Deadline: time.Minute, Parallel: parallel, Abandon: 10 * time.Millisecond, Grace: grace, ResolutionAge: grace,
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
		_ = d.Close()
	})
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) { builderv1.RegisterBuildsServiceServer(r, w.service) })
	w.client = builderv1.NewBuildsServiceClient(conn)
	return w
}

func (w *world) publish(_ context.Context, batch *busv1.LogBatch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, batch)
	return nil
}

func (w *world) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, batch := range w.published {
		for _, line := range batch.GetLines() {
			all = append(all, line.GetMessage())
		}
	}
	return all
}

// bundle puts a project on the disk as an upload would.
func (w *world) bundle(t *testing.T, id string, files map[string]string) {
	t.Helper()
	home := w.disk.Bundle("org_1", "digest_"+id)
	for name, text := range files {
		full := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.store.KeepBundle(t.Context(), store.Bundle{ID: id, OrgID: "org_1", Owner: "app_" + id, Digest: "digest_" + id, UsedAt: w.now()})
	if err != nil {
		t.Fatal(err)
	}
}

var project = map[string]string{"main.py": "app = MCPApp(name='x')\n", "requirements.txt": "mcp-agent==0.2.6\n"}

// result is what a caller hears of a build.
type result struct {
	lines    []string
	artifact *builderv1.Artifact
	failure  *builderv1.BuildFailure
	err      error
}

func (w *world) build(ctx context.Context, id string) (r result) {
	stream, err := w.client.Build(ctx, &builderv1.BuildRequest{BundleId: id, OrgId: "org_1", TargetId: "app_" + id, VersionId: "ver_1"})
	if err != nil {
		return result{err: err}
	}
	for {
		res, err := stream.Recv()
		if err != nil {
			if r.artifact == nil && r.failure == nil {
				r.err = err
			}
			return r
		}
		if line := res.GetLine(); line != nil {
			r.lines = append(r.lines, line.GetMessage())
		}
		r.artifact, r.failure = res.GetArtifact(), res.GetFailure()
	}
}
