package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// NodeApp is a server in JavaScript or TypeScript, and where its files are.
type NodeApp struct {
	recipe.Node
	// Files is the folder of the bundle, whose content Owner and Digest name.
	Files, Owner, Digest string
	// Entry must be there at the end; empty: there is no server, only workflows.
	Entry string
}

// NodeVersion is that of the machine's Node.
func (e *Engine) NodeVersion(ctx context.Context) (string, error) {
	node, err := e.node()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--version") //nolint:gosec // the operator's Node
	cmd.Env = []string{"PATH=" + filepath.Dir(node)}
	output, err := cmd.Output()
	if err != nil {
		return "", fault.Unavailable.Wrap(err, "this machine's Node cannot be run; install Node 18 or newer, or set node in the builder's settings")
	}
	return strings.TrimPrefix(strings.TrimSpace(string(output)), "v"), nil
}

// NodeProgram is the machine's Node and the folders of programs that go with it.
func (e *Engine) NodeProgram() (string, error) { return e.node() }

// NodeModules installs what a lock of npm names and returns the digest of the folder,
// which is there when it returns. Equal locks share one.
func (e *Engine) NodeModules(ctx context.Context, n recipe.Node, dev bool, sink Sink) (string, error) {
	digest := digestOf("node modules", Version, Platform(), n.Version, n.Package, n.Lock, n.Scripts, dev)
	unlock, err := e.making.lock(ctx, "tool "+digest)
	if err != nil {
		return "", err
	}
	defer unlock()
	there, err := e.Claim(ctx, digest, store.KindTool)
	if there {
		sink("the packages of this lock are there already")
	}
	if there || err != nil {
		return digest, err
	}
	if err := e.installModules(ctx, n, dev, e.deps.Disk.Tool(digest), sink); err != nil {
		return "", err
	}
	_, err = e.Claim(ctx, digest, store.KindTool)
	return digest, err
}

func (e *Engine) installModules(ctx context.Context, n recipe.Node, dev bool, home string, sink Sink) error {
	npm, node, err := e.npmAndNode()
	if err != nil {
		return err
	}
	work, err := e.deps.Disk.Stage("npm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	made := filepath.Join(work, "modules")
	// A lock may name nothing; the folder is there all the same.
	if err := os.MkdirAll(filepath.Join(made, modulesFolder), 0o755); err != nil { //nolint:gosec // agents read it under another user
		return fmt.Errorf("make folder of packages: %w", err)
	}
	for name, text := range map[string]string{"package.json": n.Package, "package-lock.json": n.Lock} {
		if err := writeLines(made, name, []string{text}); err != nil {
			return err
		}
	}
	args := []string{"ci", "--prefix", made, "--no-audit", "--no-fund", "--loglevel", "error", "--prefer-offline"}
	if !dev {
		args = append(args, "--omit=dev")
	}
	if !n.Scripts || !e.cfg.NodeScripts {
		args = append(args, "--ignore-scripts")
	}
	sink("installing the packages of the lock with npm")
	out, err := e.run(ctx, command{path: npm, tools: []string{node}, work: work, args: args}, sink)
	if err != nil {
		return e.explainLock(err, out)
	}
	if err := os.MkdirAll(filepath.Join(made, modulesFolder), 0o755); err != nil { //nolint:gosec // as above
		return fmt.Errorf("make folder of packages: %w", err)
	}
	return e.publish(work, made, home)
}

const modulesFolder = "node_modules"

func (e *Engine) npmAndNode() (npm, node string, err error) {
	if npm, err = e.npm(); err != nil {
		return "", "", err
	}
	node, err = e.node()
	return npm, node, err
}

func (e *Engine) explainLock(err error, out *tail) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return e.explain(err, out, Wishes{})
	}
	if !errors.Is(err, errFailed) {
		return err
	}
	reason := "npm could not install the packages of the lock; see the last lines"
	switch text := out.whole(); {
	case strings.Contains(text, "EUSAGE"):
		reason = "package.json and its lock do not agree; run `npm install --package-lock-only` and deploy both"
	case strings.Contains(text, "E404"), strings.Contains(text, "ETARGET"):
		reason = "the lock names a package or version that the registry does not have; run `npm install --package-lock-only` and deploy the lock"
	case strings.Contains(text, "EINTEGRITY"):
		reason = "a package is not what the lock says it is; find out why before you make the lock anew"
	}
	return &recipe.Problem{Reason: reason, Detail: out.detail()}
}

// NodeApp makes the folder from which a server is started: its files, what its build
// script makes of them, and the packages of its lock. It returns the digests of the
// folder and of the packages, which is empty when there are none.
func (e *Engine) NodeApp(ctx context.Context, a NodeApp, sink Sink) (app, modules string, err error) {
	if a.Lock != "" {
		if modules, err = e.NodeModules(ctx, a.Node, false, sink); err != nil {
			return "", "", err
		}
	}
	parts := []any{"node app", Version, Platform(), a.Owner, a.Digest, a.Node, modules, a.Entry}
	if a.Workflows != "" {
		parts = append(parts, agenthost.Digest())
	}
	app = digestOf(parts...)
	unlock, err := e.making.lock(ctx, "tool "+app)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	if there, err := e.Claim(ctx, app, store.KindTool); there || err != nil {
		return app, modules, err
	}
	if err := e.makeApp(ctx, a, modules, e.deps.Disk.Tool(app), sink); err != nil {
		return "", "", err
	}
	_, err = e.Claim(ctx, app, store.KindTool)
	return app, modules, err
}

func (e *Engine) makeApp(ctx context.Context, a NodeApp, modules, home string, sink Sink) error {
	work, err := e.deps.Disk.Stage("node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	made := filepath.Join(work, "app")
	if err := os.CopyFS(made, os.DirFS(a.Files)); err != nil {
		return fmt.Errorf("copy files of bundle: %w", err)
	}
	packages := filepath.Join(made, modulesFolder)
	if a.Build != "" {
		if err := e.buildApp(ctx, a, work, made, sink); err != nil {
			return err
		}
	}
	if a.Workflows != "" {
		if err := e.bundleWorkflows(ctx, a, work, made, modules, sink); err != nil {
			return err
		}
	}
	if modules != "" {
		// A link within the builder's folder, which may be moved as a whole.
		err := errors.Join(os.RemoveAll(packages), os.Symlink(filepath.Join("..", modules, modulesFolder), packages))
		if err != nil {
			return fmt.Errorf("give the app its packages: %w", err)
		}
	}
	if info, err := os.Stat(filepath.Join(made, filepath.FromSlash(a.Entry))); a.Entry != "" && (err != nil || !info.Mode().IsRegular()) {
		return &recipe.Problem{Reason: fmt.Sprintf("the script %s made no %s; correct main or bin in package.json, or node.entry in agentcloud.yaml", a.Build, a.Entry)}
	}
	return e.publish(work, made, home)
}

// buildApp runs the build script with all packages, those for development included. They
// are a copy: what a script does to them stays here.
func (e *Engine) buildApp(ctx context.Context, a NodeApp, work, made string, sink Sink) error {
	npm, node, err := e.npmAndNode()
	if err != nil {
		return err
	}
	if a.Lock != "" {
		dev, err := e.NodeModules(ctx, a.Node, true, sink)
		if err != nil {
			return err
		}
		if err := e.copyModules(dev, filepath.Join(made, modulesFolder)); err != nil {
			return err
		}
	}
	sink("running the script " + a.Build + " of package.json")
	out, err := e.run(ctx, command{path: npm, tools: []string{node}, work: work, args: []string{"run", "--prefix", made, a.Build}}, sink)
	switch {
	case errors.Is(err, errFailed):
		return &recipe.Problem{Reason: fmt.Sprintf("the script %s of package.json failed; see the last lines", a.Build), Detail: out.detail()}
	case errors.Is(err, context.DeadlineExceeded):
		return e.explain(err, out, Wishes{})
	}
	return err
}

// copyModules holds the lock that the collector of garbage needs to take them away.
func (e *Engine) copyModules(digest, to string) error {
	defer e.deps.Disk.Lock()()
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("copy packages: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(filepath.Join(e.deps.Disk.Tool(digest), modulesFolder))); err != nil {
		return fmt.Errorf("copy packages: %w", err)
	}
	return nil
}

// Executable makes a file of a folder of ours a program: uploads do not say which are.
func (e *Engine) Executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("find program: %w", err)
	}
	const anybody = 0o111
	if info.Mode()&anybody == anybody {
		return nil
	}
	return os.Chmod(name, info.Mode().Perm()|anybody)
}
