package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// installed is where npm writes what it has installed: a lock as package-lock.json is,
// without what the project only asks for.
const installed = ".package-lock.json"

// nodePackages are what a Node server has, if its folder is kept. One that stands below
// another is named with that: "a > b".
func nodePackages(home string) (found []*builderv1.Package, kept bool, err error) {
	if _, err := os.Stat(home); err != nil {
		return nil, false, nil //nolint:nilerr // it is not there, whatever the reason
	}
	text, err := os.ReadFile(filepath.Join(home, modules, installed)) //nolint:gosec // a folder of our own making
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil // there is nothing that it needs
	}
	var lock struct {
		Packages map[string]struct {
			Version string `json:"version"`
		} `json:"packages"`
	}
	if err == nil {
		err = json.Unmarshal(text, &lock)
	}
	if err != nil {
		return nil, false, fmt.Errorf("list packages of a Node server: %w", err)
	}
	for at, p := range lock.Packages {
		if name, ok := strings.CutPrefix(at, modules+"/"); ok {
			found = append(found, &builderv1.Package{Name: strings.ReplaceAll(name, "/"+modules+"/", " > "), Version: p.Version})
		}
	}
	return found, true, nil
}
