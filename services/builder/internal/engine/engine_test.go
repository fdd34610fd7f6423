package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

type world struct {
	disk   *disk.Disk
	store  *store.Store
	engine *engine.Engine
	python recipe.Interpreter
	lines  []string
}

// newWorld has the real uv of .bin, which the package index is reached through as the
// machine is set to.
func newWorld(t *testing.T, change ...func(*engine.Config)) *world {
	t.Helper()
	uv, err := filepath.Abs("../../../../.bin/uv")
	if err == nil {
		_, err = os.Stat(uv)
	}
	if err != nil {
		t.Skipf("%v: `make setup` installs it", err)
	}
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	cfg := engine.Defaults()
	cfg.UV = uv
	for _, c := range change {
		c(&cfg)
	}
	w := &world{disk: d, store: store.New(dbtest.SQLite(t, store.Migrations()))}
	w.engine = engine.New(cfg, engine.Deps{Store: w.store, Disk: d, Now: time.Now, Environ: os.Environ()})
	all, err := w.engine.Interpreters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w.python, err = recipe.ChoosePython(">=3.10", "the test", recipe.Options{Interpreters: all, Prefer: cfg.PreferPythons}); err != nil {
		t.Skip(err)
	}
	return w
}

func (w *world) make(ctx context.Context, requirements ...string) (string, error) {
	w.lines = nil
	return w.engine.Environment(ctx, engine.Wishes{Python: w.python, Requirements: requirements, Source: "requirements.txt"}, func(line string) {
		w.lines = append(w.lines, line)
	})
}

// left lists what is half-done, or made.
func (w *world) left(t *testing.T, kind string) int {
	t.Helper()
	names, err := w.disk.Names(kind)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestAnEnvironmentIsMadeOnceForItsLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.make(t.Context(), "iniconfig==2.1.0")
	if err != nil {
		t.Fatalf("Environment() = %v\n%s", err, strings.Join(w.lines, "\n"))
	}
	found, err := filepath.Glob(filepath.Join(w.disk.Environment(first), "lib", "python3.*", "site-packages", "iniconfig", "__init__.py"))
	if err != nil || len(found) != 1 {
		t.Errorf("the package is not there: %v, %v", found, err)
	}
	// Other words for the same lock.
	again, err := w.make(t.Context(), "iniconfig>=2.1,<2.1.1")
	if err != nil || again != first || w.left(t, "environments") != 1 {
		t.Errorf("Environment() = %s, %v; want %s, and only that", again, err, first)
	}
	if said := strings.Join(w.lines, "\n"); !strings.Contains(said, "is there already") {
		t.Errorf("it says %q", said)
	}
	if w.left(t, "staging") != 0 {
		t.Error("something is left in staging")
	}
}

func TestWhatCannotBeHadIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for requirement, says := range map[string]string{
		"no-such-package-of-anybodys==1": "no-such-package-of-anybodys",
		"iniconfig==99999":               "iniconfig",
	} {
		_, err := w.make(t.Context(), requirement)
		var problem *recipe.Problem
		if !errors.As(err, &problem) || !strings.Contains(problem.Reason+problem.Detail, says) {
			t.Errorf("Environment(%s) = %v", requirement, err)
		}
	}
	if w.left(t, "staging") != 0 || w.left(t, "environments") != 0 {
		t.Error("something is left")
	}
}

func TestABuildThatIsStoppedLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.engine.Environment(ctx, engine.Wishes{Python: w.python, Requirements: []string{"iniconfig==2.1.0"}}, func(line string) {
		if strings.HasPrefix(line, "installing") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || w.left(t, "staging") != 0 || w.left(t, "environments") != 0 {
		t.Errorf("Environment() = %v; %d in staging, %d made", err, w.left(t, "staging"), w.left(t, "environments"))
	}
	if _, err := w.make(t.Context(), "iniconfig==2.1.0"); err != nil {
		t.Errorf("the next try: %v", err)
	}
}

func TestTooLargeAnEnvironmentIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *engine.Config) { c.EnvironmentBytes = 1 })
	_, err := w.make(t.Context(), "iniconfig==2.1.0")
	var problem *recipe.Problem
	if !errors.As(err, &problem) || !strings.Contains(problem.Reason, "at most") {
		t.Errorf("Environment() = %v", err)
	}
}

// A build sees the variables it may see, and no others.
func TestBuildsSeeNoSecretsOfTheMachine(t *testing.T) {
	t.Setenv("MACHINE_SECRET", "do-not-show")
	w := newWorld(t)
	project := t.TempDir()
	setup := "import os, setuptools\nprint('seen:', os.environ.get('MACHINE_SECRET'))\nraise SystemExit('stop here')\n"
	if err := os.WriteFile(filepath.Join(project, "setup.py"), []byte(setup), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.make(t.Context(), "mine @ file://"+project)
	var problem *recipe.Problem
	if !errors.As(err, &problem) {
		t.Fatalf("Environment() = %v", err)
	}
	all := strings.Join(w.lines, "\n") + problem.Detail
	if strings.Contains(all, "do-not-show") || !strings.Contains(all, "stop here") {
		t.Errorf("the build said:\n%s", all)
	}
}

func TestInterpretersAreProgramsThatRun(t *testing.T) {
	t.Parallel()
	shim := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(shim, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	w := newWorld(t)
	broken := newWorld(t, func(c *engine.Config) { c.Pythons = []string{shim, w.python.Path, w.python.Path, "/nowhere/python"} })
	all, err := broken.engine.Interpreters(t.Context())
	if err != nil || len(all) != 1 || all[0] != w.python {
		t.Errorf("Interpreters() = %v, %v; want %v alone", all, err, w.python)
	}
}

func TestAProjectIsCompiled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bin := filepath.Join(w.disk.Environment("env"), "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.Symlink(w.python.Path, filepath.Join(bin, "python"))); err != nil { //nolint:gosec // a test's folder
		t.Fatal(err)
	}
	project := t.TempDir()
	for name, text := range map[string]string{"main.py": "import lib.other\n", "lib/other.py": "x = 1\n", "broken.py": "def f(:\n"} {
		name = filepath.Join(project, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil { //nolint:gosec // a test's folder
			t.Fatal(err)
		}
	}
	if err := w.engine.Compile(t.Context(), "env", project); err != nil {
		t.Errorf("Compile() = %v", err)
	}
	for pattern, want := range map[string]int{"__pycache__/main.*.pyc": 1, "lib/__pycache__/other.*.pyc": 1, "__pycache__/broken.*": 0} {
		if found, err := filepath.Glob(filepath.Join(project, pattern)); err != nil || len(found) != want {
			t.Errorf("%s: %v, %v; want %d", pattern, found, err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.engine.Compile(ended, "env", project); !errors.Is(err, context.Canceled) {
		t.Errorf("Compile() after the build's end = %v", err)
	}
	if w.left(t, "staging") != 0 {
		t.Error("something is left in staging")
	}
}
