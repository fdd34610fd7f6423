package recipe

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// maxIncludes bounds "-r other.txt" in files that include each other.
const maxIncludes = 50

// readRequirements reads requirements.txt and the files it includes.
func readRequirements(files fs.FS) (dependencies, error) {
	reader := &requirementsReader{files: files, seen: map[string]bool{}}
	reader.deps.source = "requirements.txt"
	return reader.deps, reader.file("requirements.txt", false, &reader.deps)
}

type requirementsReader struct {
	files fs.FS
	seen  map[string]bool
	deps  dependencies
}

// file reads one file into deps, as requirements or as constraints.
func (r *requirementsReader) file(name string, constraints bool, deps *dependencies) error {
	if r.seen[name] {
		return nil
	}
	if r.seen[name] = true; len(r.seen) > maxIncludes {
		return problemf("the requirements files include more than %d others", maxIncludes)
	}
	text, err := readText(r.files, name)
	if err != nil {
		return err
	}
	for _, line := range logicalLines(text) {
		if err := r.line(name, line, constraints, deps); err != nil {
			return at(name, line.number, err)
		}
	}
	return nil
}

func (r *requirementsReader) line(name string, line logicalLine, constraints bool, deps *dependencies) error {
	if strings.HasPrefix(line.text, "-") {
		return r.option(name, line, constraints, deps)
	}
	if looksLocal(line.text) {
		return localDependency("", line.text)
	}
	if scheme, _, ok := strings.Cut(line.text, "://"); ok && !strings.ContainsAny(scheme, " @;[=<>") {
		return problemf("%.120q has no name; write `name @ %s`", line.text, line.text)
	}
	requirement, err := parseRequirement(hashOption.ReplaceAllString(line.text, ""))
	if err != nil {
		return err
	}
	requirement.Line = line.number
	if constraints {
		deps.constraints = append(deps.constraints, requirement)
	} else {
		deps.requirements = append(deps.requirements, requirement)
	}
	return nil
}

// hashOption pins one file of a version; the version stays, and the lock that the
// build makes has hashes of its own.
var hashOption = regexp.MustCompile(`\s--hash[= ]\S+`)

var optionLine = regexp.MustCompile(`^(--?[A-Za-z-]+)(?:[= ]?\s*(.*))?$`)

func (r *requirementsReader) option(name string, line logicalLine, constraints bool, deps *dependencies) error {
	option, value := splitOption(line.text)
	switch option {
	case "-r", "--requirement":
		return r.include(name, value, constraints, deps)
	case "-c", "--constraint":
		return r.include(name, value, true, deps)
	case "--no-binary", "--only-binary":
		deps.options = append(deps.options, option+" "+value)
		return nil
	case "--require-hashes", "--prefer-binary":
		return nil // the build's own lock has hashes; wheels are preferred anyway
	case "-e", "--editable":
		return localDependency("", value)
	case "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host":
		return problemf("the option %s is not taken from a project; remove the line, and let whoever runs this cloud set its package indexes", option)
	}
	return problemf("the option %.40q is not supported; remove the line", option)
}

// splitOption parts "-rfile", "-r file" and "--requirement=file".
func splitOption(text string) (option, value string) {
	if !strings.HasPrefix(text, "--") && len(text) > 2 {
		return text[:2], strings.TrimSpace(strings.TrimPrefix(text[2:], "="))
	}
	m := optionLine.FindStringSubmatch(text)
	if m == nil {
		return text, ""
	}
	return m[1], strings.TrimSpace(m[2])
}

func (r *requirementsReader) include(from, value string, constraints bool, deps *dependencies) error {
	name := path.Join(path.Dir(from), value)
	if !fs.ValidPath(name) || !exists(r.files, name) {
		return problemf("it includes %.120q, which is not in the project; add the file or remove the line", value)
	}
	return r.file(name, constraints, deps)
}

func looksLocal(text string) bool {
	for _, prefix := range []string{".", "/", "~", "file:"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

type logicalLine struct {
	text   string
	number int
}

// logicalLines joins continued lines and drops comments and blanks.
func logicalLines(text string) []logicalLine {
	var lines []logicalLine
	var pending strings.Builder
	first := 0
	for i, line := range strings.Split(text, "\n") {
		if pending.Len() == 0 {
			first = i + 1
		}
		if before, ok := strings.CutSuffix(strings.TrimRight(line, " \t"), `\`); ok {
			pending.WriteString(before + " ")
			continue
		}
		pending.WriteString(line)
		joined := strings.TrimSpace(stripComment(pending.String()))
		pending.Reset()
		if joined != "" {
			lines = append(lines, logicalLine{text: joined, number: first})
		}
	}
	return lines
}

func stripComment(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return ""
	}
	if i := strings.Index(line, " #"); i >= 0 {
		return line[:i]
	}
	if i := strings.Index(line, "\t#"); i >= 0 {
		return line[:i]
	}
	return line
}
