package e2e

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCLI runs the scripts against one process and against six. Most say in which of both
// they are enough; AGENTCLOUD_E2E_ALL=1 runs each in both. All scripts of a run share a
// cloud, each as a user in an organisation of its own.
func TestCLI(t *testing.T) {
	tools := findTools(t)
	for mode, flags := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			cloud := startCloud(t, tools, flags...)
			t.Run("scripts", func(t *testing.T) {
				testscript.Run(t, testscript.Params{
					Dir: "testdata/cli", Setup: cloud.setup, Cmds: commands(), Condition: cloud.condition,
					RequireExplicitExec: true, UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
				})
			})
			cloud.stop(t)
			cloud.searchSecrets(t)
		})
	}
}

// modes are one and six processes, or the one that AGENTCLOUD_E2E_MODE names.
func modes(t *testing.T) map[string][]string {
	all := map[string][]string{"one": nil, "six": {"--processes"}}
	if only := os.Getenv("AGENTCLOUD_E2E_MODE"); only != "" {
		flags, ok := all[only]
		if !ok {
			t.Fatalf("AGENTCLOUD_E2E_MODE is %q; use one or six", only)
		}
		return map[string][]string{only: flags}
	}
	return all
}
