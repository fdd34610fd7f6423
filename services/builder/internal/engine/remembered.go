package engine

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// maxRemembered bounds the file of interpreters that is read.
const maxRemembered = 256 << 10

// sighting is an interpreter that has answered, and by what it is known to be the
// same program still. One that did not answer is asked again: what it lacked may
// have come.
type sighting struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"` // nanoseconds
}

var plainVersion = regexp.MustCompile(`^\d{1,4}\.\d{1,4}\.\d{1,4}$`)

// look is the program as it is now, without a version.
func look(path string) (sighting, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return sighting{}, false
	}
	return sighting{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano()}, true
}

// version is what the same program has answered before, else nothing.
func (s sighting) version(now sighting) string {
	now.Version = s.Version
	if s != now {
		return ""
	}
	return s.Version
}

func (e *Engine) memory() string { return filepath.Join(e.deps.Disk.Root(), "interpreters.json") }

// remembered reads what was seen at an earlier start. A file that cannot be read is
// as good as none: everything is asked again.
func (e *Engine) remembered() map[string]sighting {
	file, err := os.Open(e.memory())
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // only read
	var list []sighting
	if err := json.NewDecoder(io.LimitReader(file, maxRemembered)).Decode(&list); err != nil {
		return nil
	}
	seen := map[string]sighting{}
	for _, s := range list[:min(len(list), maxProbes)] {
		if plainVersion.MatchString(s.Version) {
			seen[s.Path] = s
		}
	}
	return seen
}

// remember keeps the sightings for the next start, in one step.
func (e *Engine) remember(list []sighting) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	work, err := e.deps.Disk.Stage("interpreters")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	staged := filepath.Join(work, "interpreters.json")
	if err := os.WriteFile(staged, text, 0o600); err != nil {
		return err
	}
	return os.Rename(staged, e.memory())
}

// recall returns the interpreters of an earlier start that are the same still.
func (e *Engine) recall() []recipe.Interpreter {
	var found []recipe.Interpreter
	for path, s := range e.remembered() {
		if now, ok := look(path); ok && s.version(now) != "" {
			found = append(found, recipe.Interpreter{Version: s.Version, Path: path})
		}
	}
	slices.SortFunc(found, func(a, b recipe.Interpreter) int { return strings.Compare(a.Path, b.Path) })
	return found
}
