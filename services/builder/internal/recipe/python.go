package recipe

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Interpreter is a Python that the machine has.
type Interpreter struct {
	// Version such as "3.11.7".
	Version string
	// Path of the program, absolute.
	Path string
}

// floor is the oldest Python that mcp and mcp-agent run on.
const floor = ">=3.10"

// pythonWish is a range of versions and who wants it.
type pythonWish struct {
	spec string // PEP 440, such as ">=3.11,<4"
	from string // for people, such as "requires-python in pyproject.toml"
}

// choosePython takes the interpreter that meets every wish and is preferred most;
// among equals the newest patch.
func choosePython(wishes []pythonWish, options Options) (Interpreter, error) {
	all := append([]pythonWish{{spec: floor, from: "mcp"}}, wishes...)
	var best *Interpreter
	for i := range options.Interpreters {
		candidate := &options.Interpreters[i]
		ok, err := meets(candidate.Version, all)
		if err != nil {
			return Interpreter{}, err
		}
		if ok && (best == nil || better(*candidate, *best, options.Prefer)) {
			best = candidate
		}
	}
	if best == nil {
		return Interpreter{}, noPython(wishes, options.Interpreters)
	}
	return *best, nil
}

func noPython(wishes []pythonWish, have []Interpreter) error {
	var versions, wanted []string
	for _, i := range have {
		if !slices.Contains(versions, i.Version) {
			versions = append(versions, i.Version)
		}
	}
	for _, w := range wishes {
		wanted = append(wanted, fmt.Sprintf("%s (%s)", w.spec, w.from))
	}
	if len(versions) == 0 {
		return problemf("this machine has no Python that can be used; install Python 3.11")
	}
	slices.SortFunc(versions, compareVersions)
	if len(wanted) == 0 {
		wanted = []string{floor}
	}
	return problemf("the project wants Python %s, and this machine has %s; change the project, or install that Python on the machine (none is downloaded)",
		strings.Join(wanted, " and "), strings.Join(versions, ", "))
}

func better(a, b Interpreter, prefer []string) bool {
	rank := func(i Interpreter) int {
		if at := slices.Index(prefer, minor(i.Version)); at >= 0 {
			return at
		}
		return len(prefer)
	}
	if rank(a) != rank(b) {
		return rank(a) < rank(b)
	}
	return compareVersions(a.Version, b.Version) > 0
}

func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func meets(version string, wishes []pythonWish) (bool, error) {
	for _, wish := range wishes {
		ok, err := matches(version, wish.spec)
		if err != nil {
			return false, problemf("%s says %.80q, which is no range of Python versions; write for example \">=3.11\"", wish.from, wish.spec)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

var clausePattern = regexp.MustCompile(`^(===|==|~=|!=|<=|>=|<|>)?\s*(\d+(?:\.\d+)*)(\.\*)?(?:[abrc.dev0-9+-]*)?$`)

// matches says whether a version is in a PEP 440 range.
func matches(version, spec string) (bool, error) {
	for _, clause := range strings.Split(spec, ",") {
		if clause = strings.TrimSpace(clause); clause == "" || clause == "*" {
			continue
		}
		m := clausePattern.FindStringSubmatch(clause)
		if m == nil {
			return false, fmt.Errorf("clause %q", clause)
		}
		if !matchesClause(version, m[1], m[2], m[3] != "") {
			return false, nil
		}
	}
	return true, nil
}

func matchesClause(version, operator, bound string, prefix bool) bool {
	order := compareVersions(version, bound)
	within := version == bound || strings.HasPrefix(version+".", bound+".")
	switch operator {
	case "", "==", "===":
		if prefix || operator == "" {
			return within
		}
		return order == 0
	case "!=":
		return prefix && !within || !prefix && order != 0
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0 && !within
	case "<":
		return order < 0
	}
	// ~=3.11 is >=3.11 and ==3.*; ~=3.11.2 is >=3.11.2 and ==3.11.*
	parts := strings.Split(bound, ".")
	stem := strings.Join(parts[:max(1, len(parts)-1)], ".")
	return order >= 0 && strings.HasPrefix(version+".", stem+".")
}

// compareVersions compares dotted numbers; missing parts are zero.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if d := part(x, i) - part(y, i); d != 0 {
			return d
		}
	}
	return 0
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // what is no number counts as zero
	return n
}

var plainVersion = regexp.MustCompile(`^3(\.\d+){0,2}$`)

// readVersionFile reads .python-version, which names a version or its beginning.
func readVersionFile(files fs.FS) ([]pythonWish, error) {
	const name = ".python-version"
	if !exists(files, name) {
		return nil, nil
	}
	text, err := readText(files, name)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(text, "\n") {
		version := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "cpython-"), "python-")
		if version == "" || strings.HasPrefix(version, "#") {
			continue
		}
		if !plainVersion.MatchString(version) {
			return nil, problemf(".python-version says %.60q; write a version such as 3.11", version)
		}
		// The patch is not the project's business: 3.11.4 runs what 3.11.9 runs.
		return []pythonWish{{spec: "==" + minor(version) + ".*", from: ".python-version"}}, nil
	}
	return nil, nil
}
