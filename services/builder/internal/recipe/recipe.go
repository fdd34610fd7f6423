// Package recipe turns the files of a project into a plan: which program it is,
// which Python it wants, which packages, under which constraints.
//
// It is pure: it runs nothing, asks no index and reads nothing but the files. What
// it cannot plan it refuses with a Problem that names the fix.
package recipe

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

// Version changes when the same files may give another plan.
const Version = "1"

// A Problem is what a person has to mend in the project.
type Problem struct {
	// Reason is one sentence with what to do.
	Reason string
	// Detail is where it was seen, when that helps.
	Detail string
}

// Error is the reason.
func (p *Problem) Error() string { return p.Reason }

func problemf(format string, args ...any) error {
	return &Problem{Reason: fmt.Sprintf(format, args...)}
}

// Options are what the machine and its operator add to the files.
type Options struct {
	// Interpreters that the machine has.
	Interpreters []Interpreter
	// Prefer lists minor versions ("3.11"), the best first, for projects that leave it open.
	Prefer []string
	// Project is what agentcloud.yaml says.
	Project projectfile.File
	// Node is the version of the machine's Node, for projects that need it.
	Node string
	// NodeScripts says that the operator lets packages run scripts.
	NodeScripts bool
}

// Plan is what to install, and for what.
type Plan struct {
	// Server is how a project is started that is no Python app; nil for those.
	Server  *Server
	Program Program
	Python  Interpreter
	// Source is the file that names the dependencies; empty when there is none.
	Source string
	// Requirements are PEP 508 lines; ours come last.
	Requirements []string
	// Constraints bound versions without asking for a package. Pins of a lock file
	// come first, ours last.
	Constraints []string
	// Options are lines for the installer's requirements file, such as "--no-binary x".
	Options []string
	// Warnings are for the author, in the build's log.
	Warnings []string
}

// dependencies are what a project's files ask for.
type dependencies struct {
	source       string
	requirements []Requirement
	constraints  []Requirement
	options      []string
	python       []pythonWish
	warnings     []string
}

// Make plans the project in files.
func Make(files fs.FS, options Options) (Plan, error) {
	kind := KindOf(files, options.Project)
	if err := checkFiles(files, kind); err != nil {
		return Plan{}, err
	}
	switch kind {
	case projectfile.NodeKind:
		return makeNode(files, options)
	case projectfile.CommandKind:
		return makeCommand(files, options)
	case projectfile.ImageKind:
		return makeImage(files, options)
	}
	program, err := readProgram(files)
	if err == nil {
		err = checkSaid(kind, program.Kind)
	}
	if err != nil {
		return Plan{}, err
	}
	deps, err := readDependencies(files)
	if err != nil {
		return Plan{}, err
	}
	if err := complete(&deps, program); err != nil {
		return Plan{}, err
	}
	python, err := choosePython(deps.python, options)
	if err != nil {
		return Plan{}, err
	}
	deps.warnings = append(deps.warnings, openVersions(deps)...)
	return Plan{
		Program: program, Python: python, Source: deps.source,
		Requirements: texts(deps.requirements), Constraints: texts(deps.constraints),
		Options: deps.options, Warnings: deps.warnings,
	}, nil
}

// readDependencies picks the one file, or pair of files, that names them.
func readDependencies(files fs.FS) (dependencies, error) {
	var locks []string
	for _, name := range []string{"requirements.txt", "poetry.lock", "uv.lock"} {
		if exists(files, name) {
			locks = append(locks, name)
		}
	}
	if len(locks) > 1 {
		return dependencies{}, problemf("the project has %s; keep the one that counts and remove the others", strings.Join(locks, " and "))
	}
	pyproject := exists(files, "pyproject.toml")
	var deps dependencies
	var err error
	switch {
	case len(locks) == 1 && locks[0] == "requirements.txt":
		deps, err = readRequirements(files)
	case len(locks) == 1 && !pyproject:
		return deps, problemf("%s needs its pyproject.toml beside it; add it to the project", locks[0])
	case pyproject:
		deps, err = readPyproject(files, strings.Join(locks, ""))
	default:
		deps.warnings = append(deps.warnings, missingFile(files))
	}
	if err != nil {
		return deps, err
	}
	wish, err := readVersionFile(files)
	deps.python = append(deps.python, wish...)
	return deps, err
}

func missingFile(files fs.FS) string {
	for _, name := range []string{"Pipfile", "environment.yml", "setup.py", "setup.cfg"} {
		if exists(files, name) {
			return name + " is not read; write the dependencies to requirements.txt or pyproject.toml"
		}
	}
	return "no requirements.txt or pyproject.toml: only what the program itself needs is installed"
}

// openVersions says that the next build may get other packages than this one.
func openVersions(deps dependencies) []string {
	if deps.source == "pyproject.toml" {
		return []string{"pyproject.toml has no uv.lock beside it, so versions may differ between builds; run `uv lock` and deploy the lock, too"}
	}
	if deps.source != "requirements.txt" {
		return nil
	}
	var open []string
	for _, r := range deps.requirements {
		if r.Spec == "" && r.URL == "" && r.Line > 0 {
			open = append(open, r.Name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	if len(open) > 5 {
		open = append(open[:5], "…")
	}
	return []string{"requirements.txt leaves versions open (" + strings.Join(open, ", ") + "), so they may differ between builds; `pip freeze` gives exact ones"}
}

func texts(requirements []Requirement) []string {
	lines := make([]string, 0, len(requirements))
	for _, r := range requirements {
		if line := r.String(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}
