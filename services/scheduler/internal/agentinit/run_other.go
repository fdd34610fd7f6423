//go:build !linux

package agentinit

import (
	"fmt"
	"os"
)

func run([]string) int {
	fmt.Fprintln(os.Stderr, "agents run on Linux only")
	return 1
}

func runSidecar([]string) int { return run(nil) }
