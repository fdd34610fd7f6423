package recipe

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// readPoetry reads [tool.poetry.dependencies].
func readPoetry(table map[string]any, deps *dependencies) error {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		r, skip, err := poetryRequirement(name, table[name])
		switch {
		case err != nil:
			return err
		case skip:
		case r.Name == "python":
			deps.python = append(deps.python, pythonWish{spec: r.Spec, from: "python in pyproject.toml"})
		default:
			deps.requirements = append(deps.requirements, r)
		}
	}
	return nil
}

// poetryRequirement reads one entry; optional ones are skipped.
func poetryRequirement(name string, value any) (r Requirement, skip bool, err error) {
	r.Name = normalName(name)
	table, ok := value.(map[string]any)
	if !ok {
		version, isText := value.(string)
		if !isText {
			return r, false, problemf("the dependency %s has several choices, which is not supported; keep one", name)
		}
		r.Spec, err = poetrySpec(version)
		return r, false, err
	}
	text := func(key string) string { s, _ := table[key].(string); return s }
	if table["optional"] == true {
		return r, true, nil
	}
	r.Marker = text("markers")
	r.Extras = poetryExtras(table["extras"])
	switch {
	case text("path") != "":
		return r, false, localDependency(r.Name, text("path"))
	case text("git") != "":
		r.URL = gitURL(text("git"), text("rev")+text("tag")+text("branch"), text("subdirectory"))
		return r, false, checkURL(r)
	case text("url") != "":
		r.URL = text("url")
		return r, false, checkURL(r)
	}
	r.Spec, err = poetrySpec(text("version"))
	return r, false, err
}

func poetryExtras(value any) string {
	list, _ := value.([]any)
	var names []string
	for _, item := range list {
		names = append(names, fmt.Sprint(item))
	}
	return strings.Join(names, ",")
}

var poetryClause = regexp.MustCompile(`^(\^|~|===|==|~=|!=|<=|>=|<|>|=)?\s*(\d[\w.]*?)(\.\*)?$`)

// poetrySpec turns Poetry's ranges into PEP 440: ^1.2 is >=1.2,<2.
func poetrySpec(text string) (string, error) {
	var clauses []string
	for _, clause := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		clause = strings.TrimSpace(clause)
		if clause == "*" || clause == "" {
			continue
		}
		m := poetryClause.FindStringSubmatch(clause)
		if m == nil {
			return "", problemf("%.60q is no range of versions that can be read; write for example \">=1.2,<2\"", text)
		}
		clauses = append(clauses, poetryBounds(m[1], m[2], m[3]))
	}
	return strings.Join(clauses, ","), nil
}

func poetryBounds(operator, version, star string) string {
	switch operator {
	case "^":
		return ">=" + version + ",<" + nextCaret(version)
	case "~":
		parts := strings.Split(version, ".")
		return ">=" + version + ",<" + bump(parts[:min(2, len(parts))])
	case "", "=":
		return "==" + version + star
	}
	return operator + version + star
}

// nextCaret raises the first part that is not zero.
func nextCaret(version string) string {
	parts := strings.Split(version, ".")
	for i := range parts {
		if part(parts, i) != 0 || i == len(parts)-1 {
			return bump(parts[:i+1])
		}
	}
	return bump(parts)
}

func bump(parts []string) string {
	next := slices.Clone(parts)
	next[len(next)-1] = fmt.Sprint(part(parts, len(parts)-1) + 1)
	return strings.Join(next, ".")
}

// readPoetryLock adds the pins of poetry.lock.
func readPoetryLock(files fs.FS, deps *dependencies) error {
	const name = "poetry.lock"
	var lock struct {
		Package []struct {
			Name    string `toml:"name"`
			Version string `toml:"version"`
			Source  struct {
				Type      string `toml:"type"`
				URL       string `toml:"url"`
				Resolved  string `toml:"resolved_reference"`
				Directory string `toml:"subdirectory"`
			} `toml:"source"`
		} `toml:"package"`
	}
	if err := readTOML(files, name, &lock); err != nil {
		return err
	}
	deps.source = name
	pins := newPins()
	for _, p := range lock.Package {
		pin := Requirement{Name: normalName(p.Name), Spec: "==" + p.Version}
		switch p.Source.Type {
		case "directory", "file":
			return at(name, 0, localDependency(pin.Name, p.Source.URL))
		case "git":
			pin = Requirement{Name: pin.Name, URL: gitURL(p.Source.URL, p.Source.Resolved, p.Source.Directory)}
		case "url":
			pin = Requirement{Name: pin.Name, URL: p.Source.URL}
		}
		pins.add(pin)
	}
	return pins.apply(deps)
}
