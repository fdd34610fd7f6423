package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// Wishes are what an environment is to have.
type Wishes struct {
	Python       recipe.Interpreter
	Requirements []string
	Constraints  []string
	Options      []string
	// Import is a module that a new environment must be able to import; empty: none.
	Import string
	// Source is the file that names the requirements, for sentences about them.
	Source string
}

// Environment returns the digest of the environment that the wishes come to, which
// is there when it returns.
func (e *Engine) Environment(ctx context.Context, w Wishes, sink Sink) (string, error) {
	input := e.inputDigest(w)
	unlock, err := e.making.lock(ctx, "input "+input)
	if err != nil {
		return "", err
	}
	defer unlock()
	known, ok, err := e.deps.Store.FindResolution(ctx, input)
	if err != nil {
		return "", err
	}
	if ok && e.deps.Now().Sub(known.MadeAt) < e.cfg.ResolutionAge {
		sink("the dependencies are unchanged; their lock is used again")
	} else if known, err = e.resolve(ctx, input, w, sink); err != nil {
		return "", err
	}
	return known.Environment, e.ensure(ctx, known, w, sink)
}

// Claim marks an environment or tool as used now, and says whether it is there. The
// lock keeps the collector from taking it between the two.
func (e *Engine) Claim(ctx context.Context, digest, kind string) (bool, error) {
	defer e.deps.Disk.Lock()()
	if kind == store.KindTool && !isFolder(e.deps.Disk.Tool(digest)) || kind == store.KindEnvironment && !e.usable(digest) {
		return false, nil
	}
	return true, e.deps.Store.UseEnvironment(ctx, store.Environment{Digest: digest, Kind: kind, UsedAt: e.deps.Now()})
}

// inputDigest is of everything that decides a resolution, the machine's indexes included.
func (e *Engine) inputDigest(w Wishes) string {
	return digestOf("wishes", Version, recipe.Version, Platform(), w.Python.Version, w.Requirements, w.Constraints, w.Options, e.indexes(map[string]string{}))
}

// digestOf is SHA-256 of the parts as JSON, hex.
func digestOf(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings, lists and maps of them always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// resolve asks the index for versions.
func (e *Engine) resolve(ctx context.Context, input string, w Wishes, sink Sink) (store.Resolution, error) {
	uv, err := e.uv()
	if err != nil {
		return store.Resolution{}, err
	}
	work, err := e.deps.Disk.Stage("resolve")
	if err != nil {
		return store.Resolution{}, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	if err := writeLines(work, "requirements.in", append(w.Options, w.Requirements...)); err != nil {
		return store.Resolution{}, err
	}
	if err := writeLines(work, "constraints.txt", w.Constraints); err != nil {
		return store.Resolution{}, err
	}
	sink(fmt.Sprintf("resolving %d requirements for Python %s", len(w.Requirements), w.Python.Version))
	out, err := e.run(ctx, command{path: uv, work: work, tools: []string{w.Python.Path}, args: []string{
		"pip", "compile", "--quiet", "--python", w.Python.Path, "--generate-hashes", "--no-header", "--no-annotate",
		"--constraints", "constraints.txt", "--output-file", "lock.txt", "requirements.in",
	}}, sink)
	if err != nil {
		return store.Resolution{}, e.explain(err, out, w)
	}
	lock, err := os.ReadFile(filepath.Join(work, "lock.txt")) //nolint:gosec // our own staging folder
	if err != nil {
		return store.Resolution{}, fmt.Errorf("read lock: %w", err)
	}
	r := store.Resolution{Lock: string(lock), MadeAt: e.deps.Now()}
	r.Environment = digestOf("environment", Version, Platform(), w.Python.Version, r.Lock)
	return r, e.deps.Store.SaveResolution(ctx, input, r)
}

func writeLines(dir, name string, lines []string) error {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// ensure installs a lock unless that is done already.
func (e *Engine) ensure(ctx context.Context, r store.Resolution, w Wishes, sink Sink) error {
	unlock, err := e.making.lock(ctx, "environment "+r.Environment)
	if err != nil {
		return err
	}
	defer unlock()
	home := e.deps.Disk.Environment(r.Environment)
	there, err := e.Claim(ctx, r.Environment, store.KindEnvironment)
	if there {
		sink("the environment " + short(r.Environment) + " is there already")
	}
	if there || err != nil {
		return err
	}
	// One whose interpreter has left the machine is in the way.
	grave, err := e.deps.Disk.Bury(home)
	if err != nil {
		return err
	}
	if _, err := disk.Empty(grave); err != nil {
		return err
	}
	if err := e.install(ctx, home, r, w, sink); err != nil {
		return err
	}
	_, err = e.Claim(ctx, r.Environment, store.KindEnvironment)
	return err
}

// usable says whether an environment is there and its interpreter still is.
func (e *Engine) usable(digest string) bool {
	_, err := os.Stat(filepath.Join(e.deps.Disk.Environment(digest), "bin", "python"))
	return err == nil
}

func short(digest string) string { return digest[:12] }

// install makes the environment in staging and gives it its name when it is whole.
func (e *Engine) install(ctx context.Context, home string, r store.Resolution, w Wishes, sink Sink) error {
	work, err := e.deps.Disk.Stage("install")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	uv, err := e.uv()
	if err != nil {
		return err
	}
	made := filepath.Join(work, "env")
	sink(fmt.Sprintf("installing %d packages", strings.Count("\n"+r.Lock, "==")))
	if err := writeLines(work, "lock.txt", []string{r.Lock}); err != nil {
		return err
	}
	steps := [][]string{
		{"venv", "--quiet", "--relocatable", "--no-project", "--python", w.Python.Path, made},
		{"pip", "install", "--python", filepath.Join(made, "bin", "python"), "--no-deps", "--compile-bytecode", "--requirement", "lock.txt"},
	}
	for _, args := range steps {
		out, err := e.run(ctx, command{path: uv, args: args, work: work, tools: []string{w.Python.Path}}, sink)
		if err != nil {
			return e.explain(err, out, w)
		}
	}
	if err := e.check(ctx, work, made, w, sink); err != nil {
		return err
	}
	return e.publish(work, made, home)
}

// publish puts a whole folder on the disk and gives it its name.
func (e *Engine) publish(work, made, home string) error {
	size, err := disk.Size(made)
	if err != nil {
		return err
	}
	if size > e.cfg.EnvironmentBytes {
		return &recipe.Problem{Reason: fmt.Sprintf("the installed packages have %d MiB; at most %d are allowed: remove what the app does not need", size>>20, e.cfg.EnvironmentBytes>>20)}
	}
	if err := os.Rename(filepath.Join(work, "lock.txt"), filepath.Join(made, "lock.txt")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep lock: %w", err)
	}
	if err := disk.Sync(made); err != nil {
		return fmt.Errorf("put packages on disk: %w", err)
	}
	return disk.Publish(made, home)
}

// check imports the main package: a set of versions may resolve and still not work.
func (e *Engine) check(ctx context.Context, work, made string, w Wishes, sink Sink) error {
	if w.Import == "" || !e.cfg.ImportCheck {
		return nil
	}
	python := filepath.Join(made, "bin", "python")
	out, err := e.run(ctx, command{path: python, work: work, args: []string{"-I", "-X", "utf8", "-c", "import " + w.Import}}, sink)
	if errors.Is(err, errFailed) {
		return &recipe.Problem{Reason: fmt.Sprintf("the resolved packages do not work together: `import %s` fails with %q; pin versions that do (`pip freeze` where it works)",
			w.Import, lastLine(out.detail())), Detail: out.detail()}
	}
	return err
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
