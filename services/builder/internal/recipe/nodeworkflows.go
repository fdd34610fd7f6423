package recipe

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"path"
	"slices"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

// temporalWorker is the package that runs workflows.
const temporalWorker = "@temporalio/worker"

// nodeWorkflows are the files that export durable workflows and their activities. What a
// build makes need not be there yet.
func nodeWorkflows(files fs.FS, pkg packageJSON, said projectfile.Node) (workflows, activities string, err error) {
	if said.Workflows == "" {
		if said.Activities != "" {
			return "", "", problemf("agentcloud.yaml says node.activities and no node.workflows that would use them; name the file that exports workflows")
		}
		return "", "", nil
	}
	if !asksForWorkflows(pkg) {
		return "", "", problemf("node.workflows in agentcloud.yaml needs the package %s, which is not among the dependencies in package.json; add it, with @temporalio/workflow and @temporalio/activity, and make package-lock.json anew", temporalWorker)
	}
	if workflows, err = sourceFile(files, said, said.Workflows, "node.workflows"); err != nil || said.Activities == "" {
		return workflows, "", err
	}
	activities, err = sourceFile(files, said, said.Activities, "node.activities")
	return workflows, activities, err
}

// sourceFile is a file that agentcloud.yaml names, as a path inside the project.
func sourceFile(files fs.FS, said projectfile.Node, name, field string) (string, error) {
	name = path.Clean(name)
	switch {
	case !fs.ValidPath(name) || name == ".":
		return "", problemf("%s in agentcloud.yaml names %.100q, which is no file of the project", field, name)
	case !slices.Contains(moduleEndings, path.Ext(name)):
		return "", problemf("%s in agentcloud.yaml names %.100q; name a file that ends in .ts, .js, .mjs or .cjs", field, name)
	case !exists(files, name) && said.Build == "":
		return "", problemf("%s in agentcloud.yaml names %s, which is not in the project; say `node: {build: true}`, so that it is built here, or build before the deploy", field, name)
	}
	return name, nil
}

var moduleEndings = []string{".js", ".mjs", ".cjs", ".ts"}

// asksForWorkflows says whether the package that runs workflows is there when the project
// runs.
func asksForWorkflows(pkg packageJSON) bool {
	var asked map[string]string
	_ = json.Unmarshal(pkg.asked["dependencies"], &asked) // npm tells what is wrong with it
	return asked[temporalWorker] != ""
}

// workflowWarnings are for an author who may expect workflows to be served.
func workflowWarnings(node Node, pkg packageJSON) []string {
	if node.Workflows != "" || !asksForWorkflows(pkg) {
		return nil
	}
	return []string{"the project asks for " + temporalWorker + "; workflows are served when node.workflows in agentcloud.yaml names the file that exports them"}
}

// namesServer says whether a project with workflows has a server, too.
func namesServer(files fs.FS, pkg packageJSON, said projectfile.Node) bool {
	if cmp.Or(said.Entry, onlyProgram(pkg.Bin), pkg.Main) != "" {
		return true
	}
	return slices.ContainsFunc(usualEntries, func(name string) bool { return exists(files, name) })
}
