package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// pyproject is the part of pyproject.toml that counts here.
type pyproject struct {
	Project *struct {
		Dependencies   []string `toml:"dependencies"`
		RequiresPython string   `toml:"requires-python"`
		Dynamic        []string `toml:"dynamic"`
	} `toml:"project"`
	Tool struct {
		Poetry *struct {
			Dependencies map[string]any `toml:"dependencies"`
		} `toml:"poetry"`
		UV struct {
			Sources                map[string]any `toml:"sources"`
			ConstraintDependencies []string       `toml:"constraint-dependencies"`
			OverrideDependencies   []string       `toml:"override-dependencies"`
		} `toml:"uv"`
	} `toml:"tool"`
}

// readTOML decodes a file and says where it is wrong.
func readTOML(files fs.FS, name string, into any) error {
	text, err := readText(files, name)
	if err != nil {
		return err
	}
	err = toml.Unmarshal([]byte(text), into)
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		row, _ := wrong.Position()
		return at(name, row, problemf("it is no valid TOML: %s", strings.TrimPrefix(wrong.Error(), "toml: ")))
	}
	if err != nil {
		return at(name, 0, problemf("it is no valid TOML: %s", strings.TrimPrefix(err.Error(), "toml: ")))
	}
	return nil
}

// readPyproject reads pyproject.toml, and the pins of the lock beside it when there is one.
func readPyproject(files fs.FS, lock string) (dependencies, error) {
	const name = "pyproject.toml"
	var doc pyproject
	if err := readTOML(files, name, &doc); err != nil {
		return dependencies{}, err
	}
	deps := dependencies{source: name}
	if err := doc.read(&deps); err != nil {
		return deps, at(name, 0, err)
	}
	switch lock {
	case "uv.lock":
		return deps, readUVLock(files, &deps)
	case "poetry.lock":
		return deps, readPoetryLock(files, &deps)
	}
	return deps, applySources(doc.Tool.UV.Sources, &deps)
}

func (doc pyproject) read(deps *dependencies) error {
	switch {
	case doc.Project != nil && slices.Contains(doc.Project.Dynamic, "dependencies"):
		return problemf("its dependencies are dynamic, which only a build could tell; list them under [project]")
	case doc.Project != nil && (len(doc.Project.Dependencies) > 0 || doc.Tool.Poetry == nil):
		return doc.readProject(deps)
	case doc.Tool.Poetry != nil:
		return readPoetry(doc.Tool.Poetry.Dependencies, deps)
	}
	deps.warnings = append(deps.warnings, "pyproject.toml names no dependencies under [project]: only what the program itself needs is installed")
	return nil
}

func (doc pyproject) readProject(deps *dependencies) error {
	if wish := doc.Project.RequiresPython; wish != "" {
		deps.python = append(deps.python, pythonWish{spec: wish, from: "requires-python in pyproject.toml"})
	}
	if len(doc.Tool.UV.OverrideDependencies) > 0 {
		deps.warnings = append(deps.warnings, "override-dependencies of [tool.uv] are read as constraints")
	}
	var err error
	deps.requirements, err = parseAll(doc.Project.Dependencies)
	if err != nil {
		return err
	}
	deps.constraints, err = parseAll(append(doc.Tool.UV.ConstraintDependencies, doc.Tool.UV.OverrideDependencies...))
	return err
}

func parseAll(lines []string) ([]Requirement, error) {
	var all []Requirement
	for _, line := range lines {
		r, err := parseRequirement(line)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// applySources replaces a requirement by what [tool.uv.sources] says of it.
func applySources(sources map[string]any, deps *dependencies) error {
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		source, ok := sources[name].(map[string]any)
		if !ok {
			return at("pyproject.toml", 0, problemf("the source of %s has several choices, which is not supported; keep one", name))
		}
		at := slices.IndexFunc(deps.requirements, func(r Requirement) bool { return r.Name == normalName(name) })
		if at < 0 {
			continue
		}
		if err := applySource(source, &deps.requirements[at], deps); err != nil {
			return err
		}
	}
	return nil
}

func applySource(source map[string]any, r *Requirement, deps *dependencies) error {
	text := func(key string) string { s, _ := source[key].(string); return s }
	switch {
	case text("path") != "":
		return at("pyproject.toml", 0, localDependency(r.Name, text("path")))
	case source["workspace"] == true:
		return at("pyproject.toml", 0, localDependency(r.Name, "(a member of your workspace)"))
	case text("git") != "":
		r.URL, r.Spec = gitURL(text("git"), text("rev")+text("tag")+text("branch"), text("subdirectory")), ""
		return checkURL(*r)
	case text("url") != "":
		r.URL, r.Spec = text("url"), ""
		return checkURL(*r)
	}
	deps.warnings = append(deps.warnings, fmt.Sprintf("the source of %s in [tool.uv.sources] is not used; packages come from the indexes this cloud is set to", r.Name))
	return nil
}

func gitURL(url, rev, subdirectory string) string {
	url = "git+" + strings.TrimPrefix(url, "git+")
	if rev != "" {
		url += "@" + rev
	}
	if subdirectory != "" {
		url += "#subdirectory=" + subdirectory
	}
	return url
}
