package artifact_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestABuildIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	w.engine.install = func(_ context.Context, _ engine.Wishes, sink engine.Sink) error {
		sink("installing")
		return nil
	}
	first := w.build(t.Context(), "b1")
	if first.err != nil || first.artifact.GetArtifactId() == "" || !slices.Contains(first.lines, "installing") {
		t.Fatalf("build = %+v", first)
	}
	again := w.build(t.Context(), "b1")
	if diff := cmp.Diff(first.artifact.GetArtifactId(), again.artifact.GetArtifactId()); diff != "" || w.engine.installs() != 1 {
		t.Errorf("%d installs; (-first +again):\n%s", w.engine.installs(), diff)
	}
	if diff := cmp.Diff([]string{first.artifact.GetEnvironmentPath(), first.artifact.GetAppPath()}, w.engine.compiled); diff != "" {
		t.Errorf("compiled (-want +got):\n%s", diff)
	}
	w.bundle(t, "b2", map[string]string{"main.py": "app = MCPApp(name='other')\n", "requirements.txt": project["requirements.txt"]})
	other := w.build(t.Context(), "b2")
	if other.artifact.GetArtifactId() == first.artifact.GetArtifactId() || other.artifact.GetEnvironmentPath() != first.artifact.GetEnvironmentPath() {
		t.Errorf("other files with the same packages: %v, of the first %v", other.artifact, first.artifact)
	}
	eventually(t, "the lines are published", func() bool { return slices.Contains(w.lines(), "installing") })
}

func TestAnEnvironmentThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	first := w.build(t.Context(), "b1")
	if first.err != nil {
		t.Fatal(first.err)
	}
	grave, err := w.disk.Bury(first.artifact.GetEnvironmentPath())
	if err != nil || grave == "" {
		t.Fatalf("Bury() = %q, %v", grave, err)
	}
	if again := w.build(t.Context(), "b1"); again.err != nil || w.engine.installs() != 2 || !disk.Exists(again.artifact.GetEnvironmentPath()) {
		t.Errorf("build = %+v after %d installs", again, w.engine.installs())
	}
}

func TestWhatAProjectDeclares(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", map[string]string{"main.py": project["main.py"], "agentcloud.yaml": "schedules:\n  one: {workflow: Report, interval: 1h}\n"})
	m := w.build(t.Context(), "b1").artifact.GetManifest()
	if got, want := m.GetProjectJson(), `{"schedules":{"one":{"interval":"1h","workflow":"Report"}}}`; got != want {
		t.Errorf("project = %s, want %s", got, want)
	}
	if got := m.GetProjectLines()["schedules.one.workflow"]; got != 2 {
		t.Errorf("the workflow is at line %d, want 2", got)
	}
}

func TestTwoCallersShareABuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	w.engine.install = func(_ context.Context, _ engine.Wishes, sink engine.Sink) error {
		sink("begun")
		begun <- struct{}{}
		<-release
		return nil
	}
	results := make([]result, 2)
	var group sync.WaitGroup
	group.Go(func() { results[0] = w.build(t.Context(), "b1") })
	<-begun
	joined := make(chan struct{})
	group.Go(func() {
		stream, err := w.client.Build(t.Context(), &builderv1.BuildRequest{BundleId: "b1", OrgId: "org_1"})
		if err == nil {
			_, err = stream.Recv() // what was said before is told to those who come late
		}
		close(joined)
		for err == nil {
			var res *builderv1.BuildResponse
			if res, err = stream.Recv(); err == nil {
				results[1].artifact = res.GetArtifact()
			}
		}
	})
	<-joined
	close(release)
	group.Wait()
	if results[0].artifact.GetArtifactId() == "" || results[0].artifact.GetArtifactId() != results[1].artifact.GetArtifactId() || w.engine.installs() != 1 {
		t.Errorf("%+v after %d installs", results, w.engine.installs())
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files   map[string]string
		install error
		want    string // in the reason; empty: an error of ours
	}{
		"the project cannot be planned": {files: map[string]string{"main.py": "print('hi')\n"}, want: "main.py has no line"},
		"the settings cannot be read":   {files: map[string]string{"main.py": project["main.py"], "mcp_agent.config.yaml": "a: [1\n"}, want: "mcp_agent.config.yaml"},
		"the project's own file is wrong": {
			files: map[string]string{"main.py": project["main.py"], "agentcloud.yaml": "schedules:\n  one: {workflow: Report, cron: soon}\n"},
			want:  "agentcloud.yaml line 2: schedules.one.cron",
		},
		"the packages cannot be had":     {files: project, install: &recipe.Problem{Reason: "no such package", Detail: "last lines"}, want: "no such package"},
		"the machine is to blame":        {files: project, install: fault.Unavailable.Errorf("the disk is full")},
		"a panic is nobody's else to be": {files: project, install: errPanic},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.bundle(t, "b1", test.files)
			w.engine.install = func(context.Context, engine.Wishes, engine.Sink) error {
				if errors.Is(test.install, errPanic) {
					panic("at the engine")
				}
				return test.install
			}
			got := w.build(t.Context(), "b1")
			switch {
			case test.want == "" && (got.err == nil || got.failure != nil):
				t.Errorf("build = %+v, want an error", got)
			case test.want != "" && !strings.Contains(got.failure.GetReason(), test.want):
				t.Errorf("build = %+v, want %q", got, test.want)
			}
		})
	}
}

var errPanic = fault.Internal.Errorf("panic")

func TestAStrangerFindsNoBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	stream, err := w.client.Build(t.Context(), &builderv1.BuildRequest{BundleId: "b1", OrgId: "org_2"})
	if err == nil {
		_, err = stream.Recv()
	}
	if !fault.NotFound.Is(err) {
		t.Errorf("Build() = %v, want not found", err)
	}
}

// blocked makes installs wait for their end, and counts those under way.
func (w *world) blocked() (begun chan struct{}, ended chan error) {
	begun, ended = make(chan struct{}, 10), make(chan error, 10)
	w.engine.install = func(ctx context.Context, _ engine.Wishes, _ engine.Sink) error {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	}
	return begun, ended
}

func TestABuildThatNobodyListensToEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	begun, ended := w.blocked()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_ = w.build(ctx, "b1")
	if err := <-ended; err == nil {
		t.Error("it ended without a cause")
	}
	w.engine.mu.Lock()
	w.engine.install = nil
	w.engine.mu.Unlock()
	eventually(t, "the next caller gets a build of their own", func() bool { return w.build(t.Context(), "b1").artifact != nil })
}

func TestMoreBuildsThanPlacesWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	w.engine.install = func(context.Context, engine.Wishes, engine.Sink) error {
		begun <- struct{}{}
		<-release
		return nil
	}
	for _, id := range []string{"b1", "b2"} {
		w.bundle(t, id, project)
	}
	results := make(chan result, 2)
	go func() { results <- w.build(t.Context(), "b1") }()
	<-begun
	go func() { results <- w.build(t.Context(), "b2") }()
	eventually(t, "the second is told that it waits", func() bool {
		return slices.Contains(w.lines(), "waiting for another build to finish")
	})
	if w.engine.installs() != 1 {
		t.Errorf("%d builds at a time", w.engine.installs())
	}
	close(release)
	for range 2 {
		if r := <-results; r.artifact == nil {
			t.Errorf("build = %+v", r)
		}
	}
}

func TestADrainEndsBuildsAndTakesNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	begun, ended := w.blocked()
	results := make(chan result, 1)
	go func() { results <- w.build(t.Context(), "b1") }()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.service.Drain(ctx); err != nil {
		t.Errorf("Drain() = %v", err)
	}
	<-ended
	for _, r := range []result{<-results, w.build(t.Context(), "b1")} {
		if !fault.Unavailable.Is(r.err) {
			t.Errorf("build = %+v, want unavailable", r)
		}
	}
}
