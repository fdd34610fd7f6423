package engine

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

const (
	lookAgain  = 5 * time.Minute
	probeLimit = 20 * time.Second
	maxProbes  = 64
	// probesAtOnce are short, and a cloud that starts waits for them.
	probesAtOnce = 4
)

// Interpreters returns the Pythons of the machine that can be used: at first those of
// an earlier start that are there still, and later what was found since. It looks
// again after some minutes.
func (e *Engine) Interpreters(ctx context.Context) ([]recipe.Interpreter, error) {
	e.mu.Lock()
	if e.looked.IsZero() && len(e.cfg.Pythons) == 0 {
		e.interpreters, e.looked = e.recall(), e.deps.Now()
	}
	known, fresh := e.interpreters, e.deps.Now().Sub(e.looked) < lookAgain
	e.mu.Unlock()
	if len(known) > 0 && fresh {
		return known, nil
	}
	return e.LookAround(ctx)
}

// LookAround finds the Pythons that the machine has now.
func (e *Engine) LookAround(ctx context.Context) ([]recipe.Interpreter, error) {
	found, err := e.findInterpreters(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.interpreters, e.looked = found, e.deps.Now()
	return found, nil
}

func (e *Engine) findInterpreters(ctx context.Context) ([]recipe.Interpreter, error) {
	candidates := e.cfg.Pythons
	if len(candidates) == 0 {
		var err error
		if candidates, err = e.candidates(ctx); err != nil {
			return nil, err
		}
	}
	sightings, news := e.ask(ctx, distinct(candidates))
	var found []recipe.Interpreter
	for _, s := range sightings {
		found = append(found, recipe.Interpreter{Version: s.Version, Path: s.Path})
	}
	if news && ctx.Err() == nil {
		_ = e.remember(sightings) // without it the next start asks again
	}
	return found, ctx.Err()
}

// ask returns the programs that are interpreters, in their order, and whether any
// had to be run to know that.
func (e *Engine) ask(ctx context.Context, paths []string) (found []sighting, news bool) {
	known := e.remembered()
	all := make([]sighting, len(paths))
	group := errgroup.Group{}
	group.SetLimit(probesAtOnce)
	for i, path := range paths {
		now, ok := look(path)
		if !ok {
			continue
		}
		all[i] = now
		if all[i].Version = known[path].version(now); all[i].Version != "" {
			continue
		}
		news = true
		group.Go(func() error {
			all[i].Version = probe(ctx, path)
			return nil
		})
	}
	_ = group.Wait() // one that fails is no interpreter
	return slices.DeleteFunc(all, func(s sighting) bool { return s.Version == "" }), news
}

// distinct drops what is missing and other names of the same program.
func distinct(candidates []string) []string {
	var paths []string
	seen := map[string]bool{}
	for _, path := range candidates[:min(len(candidates), maxProbes)] {
		real, err := filepath.EvalSymlinks(path)
		if err == nil && !seen[real] {
			seen[real] = true
			paths = append(paths, path)
		}
	}
	return paths
}

// candidates are what uv finds, and the folders of pyenv, whose shims answer
// differently in each folder and so are no interpreters.
func (e *Engine) candidates(ctx context.Context) ([]string, error) {
	paths, err := e.listedByUV(ctx)
	if err != nil {
		return nil, err
	}
	home := lookup(e.deps.Environ, "HOME")
	root := lookup(e.deps.Environ, "PYENV_ROOT")
	if root == "" {
		root = filepath.Join(home, ".pyenv")
	}
	for _, pattern := range []string{
		filepath.Join(root, "versions", "3.*", "bin", "python3"),
		filepath.Join(home, ".local", "share", "uv", "python", "cpython-3.*", "bin", "python3"),
		"/opt/python/*/bin/python3",
	} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		paths = append(paths, more...)
	}
	return slices.DeleteFunc(paths, func(p string) bool { return strings.Contains(p, "/shims/") }), nil
}

func (e *Engine) listedByUV(ctx context.Context) ([]string, error) {
	uv, err := e.uv()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, uv, "python", "list", "--only-installed", "--offline", "--no-config", "--output-format", "json") //nolint:gosec // the operator's uv
	cmd.Env = []string{"PATH=" + lookup(e.deps.Environ, "PATH"), "HOME=" + lookup(e.deps.Environ, "HOME"), "UV_CACHE_DIR=" + e.deps.Disk.Cache("uv")}
	output, err := cmd.Output()
	if err != nil {
		return nil, nil //nolint:nilerr // the known folders are looked through anyway
	}
	var list []struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(output, &list); err != nil {
		return nil, nil //nolint:nilerr // likewise
	}
	var paths []string
	for _, item := range list {
		paths = append(paths, item.Path)
	}
	return paths, nil
}

// probeScript fails on a Python that lacks what agents need.
const probeScript = `import sys, ssl, ctypes, hashlib, zlib
v = sys.version_info
if sys.implementation.name == "cpython" and v.releaselevel == "final": print("%d.%d.%d" % v[:3])`

// probe returns the version of a Python that can be used, else nothing.
func probe(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c", probeScript) //nolint:gosec // found on the machine
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	output, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}
