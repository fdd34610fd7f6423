package agenthost_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The tests of what is written for Node are run by Node.
func TestNodeHost(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip(err)
	}
	files, err := filepath.Glob("node_tests/*.test.cjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	if out, err := exec.CommandContext(t.Context(), node, append([]string{"--test"}, files...)...).CombinedOutput(); err != nil { //nolint:gosec // our own tests
		t.Errorf("node --test: %v\n%s", err, out)
	}
}
