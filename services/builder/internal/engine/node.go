package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// nodeProject is the project that npm installs into; its name is part of the lock.
const nodeProject = `{"name":"tool","version":"0.0.0","private":true}`

// NodeTool installs npm packages and returns the digest of the folder, which is
// there when it returns.
func (e *Engine) NodeTool(ctx context.Context, packages []string, sink Sink) (string, error) {
	input := digestOf("node", Version, Platform(), packages, e.indexes(map[string]string{}), e.cfg.NodeScripts)
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
		there, err := e.Claim(ctx, known.Environment, store.KindTool)
		if there || err != nil {
			return known.Environment, err
		}
	}
	digest, err := e.installNode(ctx, input, packages, sink)
	if err != nil {
		return "", err
	}
	_, err = e.Claim(ctx, digest, store.KindTool)
	return digest, err
}

func (e *Engine) installNode(ctx context.Context, input string, packages []string, sink Sink) (string, error) {
	npm, err := e.npm()
	if err != nil {
		return "", err
	}
	node, err := e.node()
	if err != nil {
		return "", err
	}
	work, err := e.deps.Disk.Stage("npm")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	made := filepath.Join(work, "tool")
	if err := os.Mkdir(made, 0o755); err != nil { //nolint:gosec // agents read it under another user
		return "", fmt.Errorf("make folder of tool: %w", err)
	}
	if err := writeLines(made, "package.json", []string{nodeProject}); err != nil {
		return "", err
	}
	args := []string{"install", "--prefix", made, "--no-audit", "--no-fund", "--loglevel", "error", "--save-exact"}
	if !e.cfg.NodeScripts {
		args = append(args, "--ignore-scripts")
	}
	sink("installing " + strings.Join(packages, " ") + " with npm")
	out, err := e.run(ctx, command{path: npm, tools: []string{node}, work: work, args: append(append(args, "--"), packages...)}, sink)
	if err != nil {
		return "", e.explainNode(err, out, packages)
	}
	return e.keepNode(ctx, input, work, made)
}

func (e *Engine) keepNode(ctx context.Context, input, work, made string) (string, error) {
	lock, err := os.ReadFile(filepath.Join(made, "package-lock.json")) //nolint:gosec // our own staging folder
	if err != nil {
		return "", fmt.Errorf("read npm's lock: %w", err)
	}
	r := store.Resolution{Lock: string(lock), MadeAt: e.deps.Now()}
	r.Environment = digestOf("node tool", Version, Platform(), r.Lock, e.cfg.NodeScripts)
	if err := e.publish(work, made, e.deps.Disk.Tool(r.Environment)); err != nil {
		return "", err
	}
	return r.Environment, e.deps.Store.SaveResolution(ctx, input, r)
}

func (e *Engine) explainNode(err error, out *tail, packages []string) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return e.explain(err, out, Wishes{})
	}
	if !errors.Is(err, errFailed) {
		return err
	}
	names, text := strings.Join(packages, " "), out.whole()
	switch {
	case strings.Contains(text, "E404"):
		return &recipe.Problem{Reason: fmt.Sprintf("there is no npm package %s; check mcp.servers in the settings", names), Detail: out.detail()}
	case strings.Contains(text, "ETARGET"):
		return &recipe.Problem{Reason: fmt.Sprintf("there is no such version of the npm package %s; check mcp.servers in the settings", names), Detail: out.detail()}
	}
	return &recipe.Problem{Reason: fmt.Sprintf("npm could not install %s; see the last lines", names), Detail: out.detail()}
}

// NodeCommand is how to start a program of an installed npm package.
func (e *Engine) NodeCommand(digest string, packages []string, program string) (string, []string, error) {
	node, err := e.node()
	if err != nil {
		return "", nil, err
	}
	for _, spec := range packages {
		script, programs, err := nodeProgram(e.deps.Disk.Tool(digest), packageName(spec), program)
		if err != nil {
			return "", nil, err
		}
		if script != "" {
			return node, []string{script}, nil
		}
		if program == "" {
			return "", nil, &recipe.Problem{Reason: fmt.Sprintf("the npm package %s has no one program to start (it has: %s); name it with `npx -p %s <program>`", spec, strings.Join(programs, ", "), spec)}
		}
	}
	return "", nil, &recipe.Problem{Reason: fmt.Sprintf("none of the npm packages %s has a program %q; check mcp.servers in the settings", strings.Join(packages, " "), program)}
}

// packageName drops the version: "@scope/name@1.2" is "@scope/name".
func packageName(spec string) string {
	if at := strings.LastIndexByte(spec, '@'); at > 0 {
		return spec[:at]
	}
	return spec
}

// nodeProgram finds the script of a package's program, as npx chooses it: the
// only one, or the one called like the package.
func nodeProgram(root, name, program string) (string, []string, error) {
	folder := filepath.Join(root, "node_modules", filepath.FromSlash(name))
	text, err := os.ReadFile(filepath.Join(folder, "package.json")) //nolint:gosec // what npm has installed
	if err != nil {
		return "", nil, fmt.Errorf("read package.json of %s: %w", name, err)
	}
	var doc struct {
		Bin json.RawMessage `json:"bin"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", nil, fmt.Errorf("read package.json of %s: %w", name, err)
	}
	programs := map[string]string{}
	var single string
	if json.Unmarshal(doc.Bin, &single) == nil && single != "" {
		programs[path.Base(name)] = single
	} else if len(doc.Bin) > 0 {
		_ = json.Unmarshal(doc.Bin, &programs) // another shape has no programs
	}
	var names []string
	for n := range programs {
		names = append(names, n)
	}
	slices.Sort(names)
	choice := program
	if choice == "" && len(names) == 1 {
		choice = names[0]
	} else if choice == "" {
		choice = path.Base(name)
	}
	script := programs[choice]
	if script == "" || !filepath.IsLocal(filepath.FromSlash(script)) {
		return "", names, nil
	}
	return filepath.Join(folder, filepath.FromSlash(script)), names, nil
}

// PythonCommand is how to start a program of an installed environment: by its
// interpreter, without the shell that a movable script begins with.
func (e *Engine) PythonCommand(digest, program string) (string, []string, error) {
	bin := filepath.Join(e.deps.Disk.Environment(digest), "bin")
	script := filepath.Join(bin, program)
	if program != filepath.Base(program) || !isProgram(script) {
		return "", nil, &recipe.Problem{Reason: fmt.Sprintf("the package has no program %q; name the package with `uvx --from <package> <program>` in mcp.servers of the settings", program)}
	}
	head := make([]byte, 2)
	file, err := os.Open(script) //nolint:gosec // what uv has installed
	if err != nil {
		return "", nil, fmt.Errorf("open program: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	if _, err := file.Read(head); err == nil && string(head) == "#!" {
		return filepath.Join(bin, "python"), []string{script}, nil
	}
	return script, nil, nil
}

func isProgram(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
