package e2e

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// passed are the variables of a script that programs started by our own commands see.
var passed = []string{
	"HOME", "PATH", "COLUMNS", "NO_COLOR", "TERM", "MCP_API_BASE_URL", "MCP_API_KEY", "MCP_DEPLOYMENTS_UPLOAD_API_BASE_URL",
	"MCP_DEPLOYMENT_CACHE_DIR", "MCP_AGENT_DISABLE_VERSION_CHECK", "TMPDIR",
}

func environ(ts *testscript.TestScript) []string {
	all := machine()
	for _, name := range passed {
		all = append(all, name+"="+ts.Getenv(name))
	}
	return all
}

func lookIn(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}
