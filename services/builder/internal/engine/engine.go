// Package engine resolves and installs packages with uv and npm, into folders named
// by what is in them.
//
// It runs other people's build scripts, so it runs them without the machine's
// environment, within a deadline, and kills all of them at the end. It decides
// nothing about what to install.
package engine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// A Store remembers what was resolved and which environments are used.
type Store interface {
	FindResolution(ctx context.Context, input string) (store.Resolution, bool, error)
	SaveResolution(ctx context.Context, input string, r store.Resolution) error
	UseEnvironment(ctx context.Context, e store.Environment) error
}

// Deps is everything an Engine needs from outside.
type Deps struct {
	Store Store
	Disk  *disk.Disk
	Now   func() time.Time
	// Environ is the machine's environment, as os.Environ gives it.
	Environ []string
}

// A Sink gets the lines of a build's output.
type Sink func(line string)

// Engine installs.
type Engine struct {
	cfg    Config
	deps   Deps
	making keyed

	mu           sync.Mutex
	isolation    *isolation
	interpreters []recipe.Interpreter
	looked       time.Time
}

// New returns an Engine on deps, which must be complete.
func New(cfg Config, deps Deps) *Engine { return &Engine{cfg: cfg, deps: deps} }

// Platform is what binaries are installed for.
func Platform() string { return runtime.GOOS + "-" + runtime.GOARCH }

// uv finds the program.
func (e *Engine) uv() (string, error) {
	return findProgram(e.cfg.UV, "uv", "install it with `make tools`, or set uv in the builder's settings")
}

func (e *Engine) npm() (string, error) {
	return findProgram(e.cfg.NPM, "npm", "install Node 18 or newer, or set npm in the builder's settings")
}

func (e *Engine) node() (string, error) {
	return findProgram(e.cfg.Node, "node", "install Node 18 or newer, or set node in the builder's settings")
}

// findProgram looks where the settings say, in PATH, beside our own program and in .bin.
func findProgram(set, name, fix string) (string, error) {
	if set != "" {
		if _, err := os.Stat(set); err != nil {
			return "", fault.Unavailable.Wrap(err, "the builder's setting for %s names a program that is not there", name)
		}
		return filepath.Abs(set)
	}
	if found, err := exec.LookPath(name); err == nil {
		return filepath.Abs(found)
	}
	places := []string{filepath.Join(".bin", name)}
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(self), name))
	}
	for _, place := range places {
		if info, err := os.Stat(place); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Abs(place)
		}
	}
	return "", fault.Unavailable.Errorf("this machine has no %s; %s", name, fix)
}

// keyed makes callers with one key wait for each other.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock returns the unlock, or the context's error.
func (k *keyed) lock(ctx context.Context, key string) (func(), error) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		other, busy := k.held[key]
		if !busy {
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
