package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// toolHive is a gateway that ends both sides' sessions with an SDK.
const toolHive = "ToolHive"

// toolHiveConfig has one upstream, no authentication, and tools with a prefix.
const toolHiveConfig = `name: beside
groupRef: beside
incomingAuth: {type: anonymous}
outgoingAuth: {source: inline, default: {type: unauthenticated}}
aggregation: {conflictResolution: prefix, conflictResolutionConfig: {prefixFormat: "%s"}}
backends: [{name: up, url: %q, transport: streamable-http}]
`

const toolHivePrefix = "up_"

// startPeers starts what is installed in the folder that the environment names.
func startPeers(t *testing.T, upstream string) []endpoint {
	t.Helper()
	folder := os.Getenv(peersIn)
	if folder == "" {
		t.Log("no peers beside the gateway: `make bench PEERS=1` measures them, too")
		return nil
	}
	return []endpoint{startToolHive(t, filepath.Join(folder, "vmcp"), upstream)}
}

func startToolHive(t *testing.T, program, upstream string) endpoint {
	t.Helper()
	config := filepath.Join(t.TempDir(), "vmcp.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, toolHiveConfig, toolHivePrefix, upstream), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	cmd := exec.Command(program, "serve", "--config", config, "--port", port)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	startProgram(t, cmd)
	awaitPort(t, port, out)
	return endpoint{name: toolHive, url: "http://127.0.0.1:" + port + "/mcp", pids: []int{cmd.Process.Pid}, prefix: toolHivePrefix}
}
