// Package conformance puts the reference server behind the gateway and has the
// protocol's own conformance suite judge both: through the gateway, and through two
// replicas of it in turn, nothing may be worse than directly.
package conformance_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const suiteLimit = 5 * time.Minute

// judge runs the suite and returns the checks that failed, by scenario.
func judge(t *testing.T, url, version string) (passed int, failed []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suiteLimit)
	defer cancel()
	home := os.Getenv("AGENTCLOUD_CONFORMANCE")
	suite := exec.CommandContext(ctx, //nolint:gosec // a test's own
		filepath.Join(home, "node"), filepath.Join(home, "node_modules/@modelcontextprotocol/conformance/dist/index.js"),
		"server", "--url", strings.Replace(url, "127.0.0.1", "localhost", 1)+"/mcp", "--requirements", version, "-o", t.TempDir())
	var said bytes.Buffer
	suite.Stdout, suite.Stderr = &said, &said
	err := suite.Run()
	passed, failed = read(said.String())
	if passed == 0 {
		t.Fatalf("the suite did not run (%v):\n%s", err, said.String())
	}
	t.Logf("%s at %s: %d passed, %d failed", version, url, passed, len(failed))
	if os.Getenv("AGENTCLOUD_CONFORMANCE_SAY") != "" {
		t.Log(said.String())
	}
	return passed, failed
}

var scenario = regexp.MustCompile(`(?m)^\s*(?:✓|✗|⊘|\S+)\s+([a-z0-9-]+): (\d+) passed, (\d+) failed`)

// read adds the suite's summary up; a scenario that failed is there as often as checks did.
func read(said string) (passed int, failed []string) {
	for _, m := range scenario.FindAllStringSubmatch(said, -1) {
		passed += number(m[2])
		for range number(m[3]) {
			failed = append(failed, m[1])
		}
	}
	slices.Sort(failed)
	return passed, failed
}

func number(digits string) (n int) {
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	return n
}

// eras are the versions that are judged: whether the server behind keeps no sessions,
// and how many checks pass. That number may only grow.
var eras = map[string]struct {
	stateless bool
	baseline  int
}{
	"2025-11-25": {false, 83},
	"2026-07-28": {true, 165},
}

func TestGatewayIsNoWorseThanTheServerBehindIt(t *testing.T) {
	if os.Getenv("AGENTCLOUD_CONFORMANCE") == "" {
		t.Skip("AGENTCLOUD_CONFORMANCE does not say where the suite is: deploy/tools/test.sh conformance")
	}
	for version, era := range eras {
		t.Run(version, func(t *testing.T) {
			direct := reference(t, era.stateless)
			about := record(t, direct)
			about.Modern = era.stateless
			passed, failed := judge(t, direct, version)
			urls := gates(t, direct, about)
			for name, url := range map[string]string{"the gateway": urls[0], "two replicas in turn": inTurn(t, urls)} {
				gotPassed, gotFailed := judge(t, url, version)
				if gotPassed < max(passed, era.baseline) || len(gotFailed) > len(failed) {
					t.Errorf("directly %d passed and %d failed; through %s %d passed, and failed: %v", passed, len(failed), name, gotPassed, gotFailed)
				}
			}
		})
	}
}
