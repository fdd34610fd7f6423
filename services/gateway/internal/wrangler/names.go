package wrangler

import (
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// suffix is what the command line adds to every file that is no Python source, so
// that the uploader takes it.
const suffix = ".mcpac.py"

// unescape reverses the form-data encoding of file names (WHATWG HTML, "multipart
// form data": only these three are encoded).
var unescape = strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n")

// names restores the paths of one upload and refuses those that are dangerous or
// would overwrite each other, also where case does not count.
type names struct {
	limits Limits
	seen   map[string]string // folded path to path
	fold   cases.Caser
}

func newNames(limits Limits) *names {
	return &names{limits: limits, seen: map[string]string{}, fold: cases.Fold()}
}

// restore gives the path a file had in the project.
func (n *names) restore(filename string) (string, error) {
	name := strings.TrimSuffix(unescape.Replace(filename), suffix)
	if err := n.check(name); err != nil {
		return "", err
	}
	folded := n.fold.String(norm.NFC.String(name))
	if other, ok := n.seen[folded]; ok {
		return "", fault.Invalid.Errorf("the files %q and %q would overwrite each other: rename one", other, name)
	}
	n.seen[folded] = name
	return name, nil
}

func (n *names) check(name string) error {
	switch {
	case name == "":
		return fault.Invalid.Errorf("a file has no name")
	case len(name) > n.limits.NameBytes:
		return fault.Invalid.Errorf("the path %.60q… has more than %d bytes", name, n.limits.NameBytes)
	case !utf8.ValidString(name):
		return fault.Invalid.Errorf("the file name %q is no UTF-8", name)
	case strings.ContainsAny(name, "\x00\\\r\n"):
		return fault.Invalid.Errorf("the file name %q has a character that is not allowed", name)
	case path.IsAbs(name), path.Clean(name) != name, name == "..", strings.HasPrefix(name, "../"), name == ".":
		return fault.Invalid.Errorf("the file name %q is not a plain path inside the project", name)
	case strings.Count(name, "/") >= n.limits.Depth:
		return fault.Invalid.Errorf("the file %q is more than %d folders deep", name, n.limits.Depth)
	}
	return nil
}
