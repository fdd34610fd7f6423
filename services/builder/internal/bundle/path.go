package bundle

import (
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// CheckPath refuses what is no clean relative slash path within the limits.
func CheckPath(name string, limits Limits) error {
	switch {
	case name == "":
		return fault.Invalid.Errorf("a file of the bundle has no name")
	case len(name) > limits.PathBytes:
		return fault.TooLarge.Errorf("the path of a file has %d bytes; at most %d are taken: %.60q…", len(name), limits.PathBytes, name)
	case !utf8.ValidString(name):
		return fault.Invalid.Errorf("the path %.120q is not UTF-8", name)
	case strings.ContainsFunc(name, isForbidden):
		return fault.Invalid.Errorf("the path %.120q has a backslash or a control character; use letters, digits and slashes", name)
	case strings.HasPrefix(name, "/"):
		return fault.Invalid.Errorf("the path %.120q is absolute; paths are relative to the project folder", name)
	case path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return fault.Invalid.Errorf("the path %.120q is not clean; paths have no \".\", \"..\" or empty parts", name)
	}
	return checkParts(name, limits)
}

func checkParts(name string, limits Limits) error {
	parts := strings.Split(name, "/")
	if len(parts) > limits.Depth {
		return fault.TooLarge.Errorf("the path %.120q is %d folders deep; at most %d are taken", name, len(parts), limits.Depth)
	}
	for _, part := range parts {
		if len(part) > limits.NameBytes {
			return fault.TooLarge.Errorf("a name in the path %.60q… has %d bytes; at most %d are taken", name, len(part), limits.NameBytes)
		}
	}
	return nil
}

func isForbidden(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }

// tree remembers the paths seen so far, so that no two of them meet on a file
// system that folds case or Unicode forms, and no file is a folder, too.
type tree struct {
	fold    cases.Caser
	files   map[string]string // folded path → path
	folders map[string]string
}

func newTree() *tree {
	return &tree{fold: cases.Fold(), files: map[string]string{}, folders: map[string]string{}}
}

// add fails when name meets a path that is there already.
func (t *tree) add(name string) error {
	key := t.key(name)
	if other, ok := t.files[key]; ok {
		if other == name {
			return fault.Invalid.Errorf("the bundle has %q twice", name)
		}
		return fault.Invalid.Errorf("the bundle has both %q and %q, which some systems cannot tell apart; rename one", other, name)
	}
	if other, ok := t.folders[key]; ok {
		return fault.Invalid.Errorf("the bundle has %q as a file and %q as a folder; rename one", name, other)
	}
	t.files[key] = name
	return t.addFolders(name)
}

func (t *tree) addFolders(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		key := t.key(dir)
		if other, ok := t.files[key]; ok {
			return fault.Invalid.Errorf("the bundle has %q as a file and %q as a folder; rename one", other, dir)
		}
		if other, ok := t.folders[key]; ok {
			if other == dir {
				return nil // and so are its parents
			}
			return fault.Invalid.Errorf("the bundle has both folders %q and %q, which some systems cannot tell apart; rename one", other, dir)
		}
		t.folders[key] = dir
	}
	return nil
}

func (t *tree) key(name string) string { return norm.NFC.String(t.fold.String(norm.NFC.String(name))) }
