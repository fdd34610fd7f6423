package recipe

import (
	"regexp"
	"strings"
)

// Requirement is one PEP 508 line.
type Requirement struct {
	Name   string // normalised as PEP 503 says
	Extras string // "a,b"
	Spec   string // ">=1,<2"
	URL    string
	Marker string
	// Line of the file that has it; zero for ours.
	Line int
}

// String is the line.
func (r Requirement) String() string {
	var b strings.Builder
	b.WriteString(r.Name)
	if r.Extras != "" {
		b.WriteString("[" + r.Extras + "]")
	}
	if r.URL != "" {
		b.WriteString(" @ " + r.URL)
	}
	b.WriteString(r.Spec)
	if r.Marker != "" {
		b.WriteString(" ; " + r.Marker)
	}
	return b.String()
}

var (
	requirementLine = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*(@\s*\S+|\(?[^;()]*\)?)?\s*(?:;(.*))?$`)
	specPattern     = regexp.MustCompile(`^(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*(?:,\s*|$))+$`)
	nameRuns        = regexp.MustCompile(`[-_.]+`)
)

// normalName is the name as package indexes compare it.
func normalName(name string) string {
	return strings.ToLower(nameRuns.ReplaceAllString(name, "-"))
}

// parseRequirement reads one PEP 508 line; the error says only what is wrong with it.
func parseRequirement(text string) (Requirement, error) {
	text = strings.TrimSpace(text)
	m := requirementLine.FindStringSubmatch(text)
	if m == nil {
		return Requirement{}, problemf("%.120q is no requirement such as `httpx>=0.27`", text)
	}
	r := Requirement{Name: normalName(m[1]), Extras: strings.Join(strings.Fields(m[2]), ""), Marker: strings.TrimSpace(m[4])}
	rest := strings.TrimSpace(m[3])
	if url, ok := strings.CutPrefix(rest, "@"); ok {
		r.URL = strings.TrimSpace(url)
		return r, checkURL(r)
	}
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "("), ")")
	if rest = strings.TrimSpace(rest); rest != "" && !specPattern.MatchString(rest) {
		return Requirement{}, badVersion(r.Name, rest)
	}
	r.Spec = strings.Join(strings.Fields(rest), "")
	return r, nil
}

func badVersion(name, rest string) error {
	if strings.HasPrefix(rest, "=") && !strings.HasPrefix(rest, "==") {
		return problemf("%q after %s is no version; write `%s=%s`", rest, name, name, rest)
	}
	return problemf("%.60q after %s is no version; write for example `%s==1.2.3` or `%s>=1.2,<2`", rest, name, name, name)
}

// checkURL refuses what is only on the author's machine.
func checkURL(r Requirement) error {
	scheme, _, ok := strings.Cut(r.URL, ":")
	switch {
	case strings.EqualFold(scheme, "file") || !ok:
		return localDependency(r.Name, r.URL)
	case strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http") || strings.HasPrefix(strings.ToLower(scheme), "git+"):
		return nil
	}
	return problemf("%s comes from %.80q; only https:// and git+https:// addresses can be fetched", r.Name, r.URL)
}

func localDependency(name, place string) error {
	fix := "`" + name + "` with a published version"
	if name == "" {
		fix = "the name of a published package"
	}
	return problemf("the dependency %.120q is a folder or file of your machine, which the cloud does not have; write %s, a git+https:// address, or copy the code into the project and import it from there",
		strings.TrimSpace(name+" "+place), fix)
}
