// Package services_test holds the tree to its own laws.
package services_test

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/lawtest"
)

const root = ".."

func TestImportLaw(t *testing.T) {
	t.Parallel()
	lawtest.Check(t, root)
}

func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	lawtest.CheckDependencies(t, root, "docs/dependencies.md",
		"proto", "pkg", "services", "services/allinone", "services/temporald", "services/vaultd", "deploy/tools", "deploy/tools/lint")
}
