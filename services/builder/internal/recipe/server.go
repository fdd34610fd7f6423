package recipe

import (
	"io/fs"
	"path"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

// Server is how a project is started that is no Python app.
type Server struct {
	Kind projectfile.Kind
	// Run is the program and its arguments. A program that is a file of the project is
	// named with Own; a Node server begins with its entry.
	Run []string
	// Own says that Run[0] is a file of the project.
	Own bool
	// Tool is what npx or uvx would fetch, in place of Run.
	Tool *Tool
	// Node is what a Node server is built from.
	Node *Node
	// Image is the OCI image that is run.
	Image   *Image
	Serving projectfile.Serving
}

// Entry is the file that a Node server begins with; empty: there are only workflows.
func (s Server) Entry() string {
	if len(s.Run) == 0 {
		return ""
	}
	return s.Run[0]
}

// KindOf is the sort of server that a project says it is, or looks like; empty: a
// Python app, or nothing that is known.
func KindOf(files fs.FS, said projectfile.File) projectfile.Kind {
	if kind := said.Said(); kind != "" {
		return kind
	}
	if !exists(files, entry) && exists(files, packageFile) {
		return projectfile.NodeKind
	}
	return ""
}

// checkSaid refuses a Python app that is not of the kind that agentcloud.yaml says.
func checkSaid(said projectfile.Kind, found Kind) error {
	if said != "" && string(said) != string(found) {
		return problemf("agentcloud.yaml says `kind: %s`, but main.py makes a server of kind %s; remove the line, or correct it", said, found)
	}
	return nil
}

// makeCommand plans a program that is just started. What its folder asks of Python is
// installed, and found before the machine's own.
func makeCommand(files fs.FS, options Options) (Plan, error) {
	command := options.Project.Command
	server := Server{Kind: projectfile.CommandKind, Run: command.Run, Serving: command.Serving}
	if server.Serving.Transport == "" {
		server.Serving.Transport = projectfile.Stdio
	}
	for _, arg := range command.Run {
		if strings.ContainsRune(arg, 0) {
			return Plan{}, problemf("command.run in agentcloud.yaml has an argument with a zero byte")
		}
	}
	if name := path.Clean(command.Run[0]); fs.ValidPath(name) && exists(files, name) {
		server.Own = true
	} else if tool, ok := ReadStdio(command.Run[0], command.Run[1:]); ok {
		server.Tool = &tool
	} else if !path.IsAbs(command.Run[0]) && strings.Contains(command.Run[0], "/") {
		return Plan{}, problemf("command.run in agentcloud.yaml names %s, which is not in the project", command.Run[0])
	}
	if command.Run[0] == "" {
		return Plan{}, problemf("command.run in agentcloud.yaml names no program")
	}
	plan := Plan{Server: &server}
	if !asksForPython(files) && (server.Tool == nil || server.Tool.Kind != PythonTool) {
		return plan, nil
	}
	deps, err := readDependencies(files)
	if err != nil {
		return Plan{}, err
	}
	plan.Source, plan.Requirements, plan.Constraints = deps.source, texts(deps.requirements), texts(deps.constraints)
	plan.Options, plan.Warnings = deps.options, openVersions(deps)
	plan.Python, err = choosePython(deps.python, options)
	return plan, err
}

// asksForPython says whether a folder names packages of Python.
func asksForPython(files fs.FS) bool {
	for _, name := range []string{"requirements.txt", "pyproject.toml"} {
		if exists(files, name) {
			return true
		}
	}
	return false
}

// Image is an OCI image.
type Image struct {
	// Ref is where a registry has it; or
	Ref string
	// Layout is the project's folder that is an OCI layout.
	Layout string
}

// makeImage plans an OCI image. Run is empty when the image's own program is started.
func makeImage(files fs.FS, options Options) (Plan, error) {
	said := options.Project.Image
	server := Server{Kind: projectfile.ImageKind, Run: said.Run, Serving: said.Serving, Image: &Image{Ref: said.Ref}}
	if server.Serving.Transport == "" {
		server.Serving.Transport = projectfile.Stdio
	}
	if len(said.Run) > 0 && said.Run[0] == "" {
		return Plan{}, problemf("image.run in agentcloud.yaml names no program")
	}
	if folder := path.Clean(said.Ref); strings.HasPrefix(said.Ref, ".") || fs.ValidPath(folder) && exists(files, path.Join(folder, "index.json")) {
		if !fs.ValidPath(folder) || !exists(files, path.Join(folder, "index.json")) {
			return Plan{}, problemf("image.ref in agentcloud.yaml names %s, which is no OCI layout in the project (it has no index.json); `skopeo copy` and `docker buildx build --output type=oci,tar=false` make one", said.Ref)
		}
		server.Image = &Image{Layout: folder}
	}
	return Plan{Server: &server}, nil
}
