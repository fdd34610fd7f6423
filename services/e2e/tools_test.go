package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// tools are the programs under test and those that test them.
type tools struct {
	bin, examples string
	// python has the MCP SDK: the interpreter of the public command line.
	python string
}

// findTools looks in .bin. What is missing fails the test where AGENTCLOUD_E2E is set,
// as `make test` does, and skips it otherwise.
func findTools(t *testing.T) tools {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := tools{bin: filepath.Join(root, ".bin"), examples: filepath.Join(root, "examples")}
	names := []string{
		"agentcloud", "temporald", "uv", "mcp-agent",
		"gateway", "registry", "scheduler", "builder", "secretsbroker", "telemetry",
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(found.bin, name)); err != nil {
			missing(t, "%v: `make setup build` makes it", err)
		}
	}
	cli, err := filepath.EvalSymlinks(filepath.Join(found.bin, "mcp-agent"))
	if err != nil {
		missing(t, "%v", err)
	}
	found.python = filepath.Join(filepath.Dir(cli), "python")
	return found
}

func missing(t *testing.T, format string, a ...any) {
	t.Helper()
	if os.Getenv("AGENTCLOUD_E2E") == "" {
		t.Skipf(format, a...)
	}
	t.Fatalf(format, a...)
}
