package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// pythons are programs that answer as interpreters do, and count how often.
type pythons struct {
	dir, memory string
	paths       []string
	disk        *disk.Disk
	store       *store.Store
}

func newPythons(t *testing.T, count int) *pythons {
	t.Helper()
	data := t.TempDir()
	d, err := disk.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	p := &pythons{dir: t.TempDir(), memory: filepath.Join(data, "interpreters.json"), disk: d, store: store.New(dbtest.SQLite(t, store.Migrations()))}
	for i := range count {
		p.write(t, i, fmt.Sprintf("3.%d.1", 10+i))
	}
	return p
}

func (p *pythons) write(t *testing.T, i int, version string) {
	t.Helper()
	path := filepath.Join(p.dir, fmt.Sprint("python", i))
	script := fmt.Sprintf("#!/bin/sh\necho asked >> %q\necho %s\n", filepath.Join(p.dir, "asked"), version)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if i == len(p.paths) {
		p.paths = append(p.paths, path)
	}
}

// start looks as a builder does that has just been started, and returns the versions
// and how many programs were run for them.
func (p *pythons) start(t *testing.T) (versions string, asked int) {
	t.Helper()
	log := filepath.Join(p.dir, "asked")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := engine.Defaults()
	cfg.Pythons = p.paths
	e := engine.New(cfg, engine.Deps{Store: p.store, Disk: p.disk, Now: time.Now, Environ: os.Environ()})
	all, err := e.Interpreters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		versions += i.Version + " "
	}
	text, err := os.ReadFile(log) //nolint:gosec // our own
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(versions), strings.Count(string(text), "asked")
}

// Not beside other tests: a program that was just written is busy while another
// test's child still has it open.
func TestInterpretersAreAskedOnce(t *testing.T) { //nolint:paralleltest // see above
	p := newPythons(t, 9)
	const all = "3.10.1 3.11.1 3.12.1 3.13.1 3.14.1 3.15.1 3.16.1 3.17.1 3.18.1"
	if versions, asked := p.start(t); versions != all || asked != 9 {
		t.Fatalf("the first start: %s, %d asked", versions, asked)
	}
	if versions, asked := p.start(t); versions != all || asked != 0 {
		t.Errorf("the second start: %s, %d asked", versions, asked)
	}
	p.write(t, 0, "3.10.20") // another size
	if versions, asked := p.start(t); !strings.HasPrefix(versions, "3.10.20 3.11.1") || asked != 1 {
		t.Errorf("after an upgrade: %s, %d asked", versions, asked)
	}
	if err := os.Chtimes(p.paths[1], time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, asked := p.start(t); asked != 1 {
		t.Errorf("after one was put in place anew: %d asked", asked)
	}
	if err := os.Remove(p.paths[2]); err != nil {
		t.Fatal(err)
	}
	if versions, asked := p.start(t); strings.Contains(versions, "3.12") || asked != 0 {
		t.Errorf("after one left: %s, %d asked", versions, asked)
	}
}

// An interpreter that lacks something may be mended without being written anew.
func TestAFailureIsNotRemembered(t *testing.T) { //nolint:paralleltest // as above
	p := newPythons(t, 1)
	p.write(t, 1, "''; exit 1")
	for range 2 {
		if versions, _ := p.start(t); versions != "3.10.1" {
			t.Errorf("it has %s", versions)
		}
	}
	if _, asked := p.start(t); asked != 1 {
		t.Errorf("%d asked, want the broken one alone", asked)
	}
}

func TestABrokenMemoryIsAsGoodAsNone(t *testing.T) { //nolint:paralleltest // as above
	p := newPythons(t, 2)
	if _, asked := p.start(t); asked != 2 {
		t.Fatalf("%d asked", asked)
	}
	whole, err := os.ReadFile(p.memory)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"empty":         "",
		"cut":           string(whole[:len(whole)/2]),
		"no JSON":       "\x00\xff",
		"another shape": `{"path": 1}`,
		"no version":    strings.ReplaceAll(strings.ReplaceAll(string(whole), "3.10.1", "; rm"), "3.11.1", ""),
		"too large":     "[" + strings.Repeat(" ", 1<<20) + string(whole[1:]),
	}
	for name, text := range tests {
		if err := os.WriteFile(p.memory, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if versions, asked := p.start(t); versions != "3.10.1 3.11.1" || asked != 2 {
			t.Errorf("%s: %s, %d asked", name, versions, asked)
		}
		if _, asked := p.start(t); asked != 0 {
			t.Errorf("%s is not mended: %d asked", name, asked)
		}
	}
}

// The next start answers from memory, without any program, even uv.
func TestTheNextStartNeedsNoLook(t *testing.T) { //nolint:paralleltest // as above
	p := newPythons(t, 3)
	if _, asked := p.start(t); asked != 3 {
		t.Fatalf("%d asked", asked)
	}
	cfg := engine.Defaults()
	cfg.UV = "/nowhere/uv"
	e := engine.New(cfg, engine.Deps{Store: p.store, Disk: p.disk, Now: time.Now, Environ: os.Environ()})
	if all, err := e.Interpreters(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("Interpreters() = %v, %v, want the three", all, err)
	}
	if _, err := e.LookAround(t.Context()); err == nil {
		t.Error("LookAround() did not look")
	}
}
