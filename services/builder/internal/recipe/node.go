package recipe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

const packageFile = "package.json"

// Node is what a server in JavaScript or TypeScript is built from.
type Node struct {
	// Version is that of the machine's Node.
	Version string
	// Package and Lock are what of package.json and its lock decides which packages are
	// installed; both are empty when there is nothing to install.
	Package, Lock string
	// Build is a script of package.json; empty: none.
	Build string
	// Scripts says that packages may run scripts when they are installed.
	Scripts bool
	// Workflows and Activities are the files that export them; empty: there are none.
	Workflows  string `json:",omitempty"`
	Activities string `json:",omitempty"`
}

// packageJSON is what of package.json is read.
type packageJSON struct {
	Name    string            `json:"name"`
	Main    string            `json:"main"`
	Bin     json.RawMessage   `json:"bin"`
	Scripts map[string]string `json:"scripts"`
	Engines struct {
		Node string `json:"node"`
	} `json:"engines"`
	Workspaces json.RawMessage `json:"workspaces"`
	// asked is what it asks npm for, by field.
	asked map[string]json.RawMessage
}

// asking are the fields by which npm chooses packages.
var asking = []string{"dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta", "overrides", "bundleDependencies"}

// makeNode plans a server in JavaScript or TypeScript.
func makeNode(files fs.FS, options Options) (Plan, error) {
	said := projectfile.Node{}
	if options.Project.Node != nil {
		said = *options.Project.Node
	}
	pkg, err := readPackage(files)
	if err != nil {
		return Plan{}, err
	}
	node := Node{Version: options.Node, Build: string(said.Build), Scripts: said.Scripts}
	if err := checkNode(node, pkg, options); err != nil {
		return Plan{}, err
	}
	if node.Package, node.Lock, err = nodeLock(files, pkg); err != nil {
		return Plan{}, err
	}
	if node.Workflows, node.Activities, err = nodeWorkflows(files, pkg, said); err != nil {
		return Plan{}, err
	}
	server := &Server{Kind: projectfile.NodeKind, Node: &node, Serving: said.Serving}
	plan := Plan{Source: packageFile, Server: server, Warnings: workflowWarnings(node, pkg)}
	if node.Workflows != "" && !namesServer(files, pkg, said) {
		return plan, nil
	}
	entry, err := nodeEntry(files, pkg, said, options.Node)
	if err != nil {
		return Plan{}, err
	}
	server.Run = append([]string{entry}, said.Args...)
	if server.Serving.Transport == "" {
		var warnings []string
		server.Serving.Transport, warnings = transportOf(files)
		plan.Warnings = append(plan.Warnings, warnings...)
	}
	return plan, nil
}

// checkNode refuses what this machine, or this cloud, does not do.
func checkNode(node Node, pkg packageJSON, options Options) error {
	switch ok, err := inNodeRange(options.Node, pkg.Engines.Node); {
	case err != nil:
		return problemf("engines.node in package.json is %.60q, which is no range of versions", pkg.Engines.Node)
	case !ok:
		return problemf("the project wants Node %s (engines in package.json), and this machine has %s; change the project, or install that Node on the machine", pkg.Engines.Node, options.Node)
	case node.Scripts && !options.NodeScripts:
		return problemf("agentcloud.yaml asks for scripts of packages (node.scripts), which this cloud does not run; whoever runs it may allow them with builder.engine.node_scripts")
	case node.Build != "" && pkg.Scripts[node.Build] == "":
		return problemf("package.json has no script %q, which node.build in agentcloud.yaml asks for", node.Build)
	}
	return nil
}

func readPackage(files fs.FS) (packageJSON, error) {
	var pkg packageJSON
	if !exists(files, packageFile) {
		return pkg, problemf("a Node server has a package.json in its top folder, and the project has none")
	}
	text, err := readText(files, packageFile)
	if err != nil {
		return pkg, err
	}
	err = json.Unmarshal([]byte(text), &pkg)
	if err == nil {
		err = json.Unmarshal([]byte(text), &pkg.asked)
	}
	if err != nil {
		return pkg, problemf("package.json cannot be read: %v", err)
	}
	if len(pkg.Workspaces) > 0 && string(pkg.Workspaces) != "null" {
		return pkg, problemf("package.json has workspaces, which are not installed; deploy the folder of one server, with a package-lock.json of its own")
	}
	for name := range pkg.asked {
		if !slices.Contains(asking, name) {
			delete(pkg.asked, name)
		}
	}
	return pkg, nil
}

// nodeLock returns what npm installs from, without what changes with each release of the
// project itself, so that versions share what they have in common.
func nodeLock(files fs.FS, pkg packageJSON) (asked, lock string, err error) {
	name := ""
	for _, candidate := range []string{"npm-shrinkwrap.json", "package-lock.json"} {
		if name == "" && exists(files, candidate) {
			name = candidate
		}
	}
	if name == "" {
		return "", "", missingLock(files, pkg)
	}
	text, err := readText(files, name)
	if err != nil {
		return "", "", err
	}
	var doc map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return "", "", problemf("%s cannot be read: %v; make it anew with `npm install --package-lock-only`", name, err)
	}
	packages, ok := doc["packages"].(map[string]any)
	if !ok {
		return "", "", problemf("%s is of npm 6 or older; make it anew with `npm install --package-lock-only`", name)
	}
	if err := checkLocked(name, packages); err != nil {
		return "", "", err
	}
	root, _ := packages[""].(map[string]any)
	for _, field := range []string{"name", "version", "license", "bin", "engines", "hasInstallScript"} {
		delete(root, field)
	}
	doc["name"], doc["version"] = "app", "0.0.0"
	locked, err := json.Marshal(doc)
	if err != nil {
		return "", "", fmt.Errorf("marshal lock: %w", err)
	}
	pkg.asked["name"], pkg.asked["version"], pkg.asked["private"] = json.RawMessage(`"app"`), json.RawMessage(`"0.0.0"`), json.RawMessage(`true`)
	raw, err := json.Marshal(pkg.asked)
	return string(raw), string(locked), err
}

// missingLock says how to get a lock, unless none is needed.
func missingLock(files fs.FS, pkg packageJSON) error {
	if len(pkg.asked) == 0 {
		return nil
	}
	for _, other := range []string{"yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"} {
		if exists(files, other) {
			return problemf("%s is not read; make a package-lock.json with `npm install --package-lock-only` and deploy it, too", other)
		}
	}
	return problemf("package.json asks for packages and has no package-lock.json beside it; make one with `npm install --package-lock-only` and deploy it, too")
}

// checkLocked refuses packages that lie elsewhere than in a registry.
func checkLocked(name string, packages map[string]any) error {
	for at, value := range packages {
		locked, _ := value.(map[string]any)
		resolved, _ := locked["resolved"].(string)
		if link, _ := locked["link"].(bool); link || strings.HasPrefix(resolved, "file:") {
			return problemf("%s has the local package %s, which is not installed; publish it, or make it part of the sources", name, cmp.Or(strings.TrimPrefix(at, "node_modules/"), resolved))
		}
	}
	return nil
}

// usualEntries are looked for when package.json names none.
var usualEntries = []string{"index.js", "index.mjs", "server.js", "server.mjs", "src/index.js", "src/index.mjs", "dist/index.js", "build/index.js"}

// nodeEntry finds the file to start. One that a build makes need not be there yet.
func nodeEntry(files fs.FS, pkg packageJSON, said projectfile.Node, version string) (string, error) {
	entry, from := said.Entry, "node.entry in agentcloud.yaml"
	if entry == "" {
		entry, from = cmp.Or(onlyProgram(pkg.Bin), pkg.Main), "package.json"
	}
	if entry == "" {
		for _, name := range usualEntries {
			if exists(files, name) {
				return name, nil
			}
		}
		return "", problemf("package.json names no file to start (main, or one bin), and there is none of the usual names; say node.entry in agentcloud.yaml")
	}
	entry = path.Clean(entry)
	switch {
	case !fs.ValidPath(entry) || entry == ".":
		return "", problemf("%s names %.100q, which is no file of the project", from, entry)
	case strings.HasSuffix(entry, ".ts") && !newEnough(version):
		return "", problemf("Node %s does not run TypeScript; say `node: {build: true}` in agentcloud.yaml and name the file that the build makes", version)
	case exists(files, entry) || said.Build != "":
		return entry, nil
	case pkg.Scripts["build"] != "":
		return "", problemf("%s names %s, which is not in the project; say `node: {build: true}` in agentcloud.yaml, so that it is built here, or build before the deploy", from, entry)
	}
	return "", problemf("%s names %s, which is not in the project", from, entry)
}

// newEnough says whether a Node leaves out types by itself.
func newEnough(version string) bool {
	ok, err := inNodeRange(version, ">=22.18.0")
	return ok && err == nil
}

// onlyProgram is the one program of a package; empty when it has none, or several.
func onlyProgram(bin json.RawMessage) string {
	var single string
	if json.Unmarshal(bin, &single) == nil {
		return single
	}
	var named map[string]string
	if json.Unmarshal(bin, &named) == nil && len(named) == 1 {
		for _, script := range named {
			return script
		}
	}
	return ""
}

// transportOf looks at the sources for how they speak.
func transportOf(files fs.FS) (transport string, warnings []string) {
	stdio, http := false, false
	budget := maxSources
	_ = fs.WalkDir(files, ".", func(name string, file fs.DirEntry, err error) error {
		switch {
		case err != nil || budget <= 0:
			return fs.SkipAll
		case file.IsDir() && file.Name() == "node_modules":
			return fs.SkipDir
		case file.IsDir() || !slices.Contains([]string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}, path.Ext(name)):
			return nil
		}
		text, err := readText(files, name)
		if err != nil {
			return nil //nolint:nilerr // what cannot be read says nothing
		}
		budget -= len(text)
		stdio = stdio || strings.Contains(text, "StdioServerTransport")
		http = http || strings.Contains(text, "StreamableHTTP") || strings.Contains(text, `"httpStream"`)
		return nil
	})
	switch {
	case stdio && http:
		return projectfile.Stdio, []string{"the server speaks by standard input and output, and by HTTP, too; the former is used: `node: {transport: http}` in agentcloud.yaml says otherwise"}
	case http:
		return projectfile.HTTP, nil
	case stdio:
		return projectfile.Stdio, nil
	}
	return projectfile.Stdio, []string{"it cannot be seen how the server speaks; standard input and output are taken: node.transport in agentcloud.yaml says otherwise"}
}
