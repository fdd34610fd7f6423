package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stockServer serves an app with the framework's own server and engine, as its
// developer would, and the same interpreter's packages as the public command line has.
const stockServer = `
import asyncio, sys
sys.path.insert(0, ".")
import main as project
from mcp_agent.server.app_server import create_mcp_server_for_app

async def serve():
    async with project.app.run() as app:
        server = create_mcp_server_for_app(app)
        server.settings.host, server.settings.port = "127.0.0.1", int(sys.argv[1])
        server.settings.log_level = "WARNING"
        await server.run_streamable_http_async()

asyncio.run(serve())
`

func startStock(t *testing.T, tools tools, project string) endpoint {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(tools.python, "-c", stockServer, port)
	cmd.Dir = project
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	startProgram(t, cmd)
	awaitPort(t, port, out)
	return endpoint{name: "the framework's own server", url: "http://127.0.0.1:" + port + "/mcp"}
}

// TestMain lets this program be another one as well: in a process of its own, as the
// cloud is.
func TestMain(m *testing.M) {
	besides()
	os.Exit(m.Run())
}

func startProgram(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	return port
}

func awaitPort(t *testing.T, port string, out fmt.Stringer) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return conn.Close()
	})
}

// agentURL is where an agent's server itself listens: on descriptor 4.
func (c *cloud) agentURL(t *testing.T) string {
	t.Helper()
	for _, pid := range c.processes("server") {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/4", pid))
		inode, isSocket := strings.CutPrefix(link, "socket:[")
		if err != nil || !isSocket {
			continue
		}
		if port := listeningPort(t, strings.TrimSuffix(inode, "]")); port != 0 {
			return fmt.Sprintf("http://127.0.0.1:%d", port)
		}
	}
	t.Fatal("no agent's server listens")
	return ""
}

// listeningPort finds a socket in proc(5)'s table.
func listeningPort(t *testing.T, inode string) (port int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", "net", "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[9] == inode {
			_, hex, _ := strings.Cut(fields[1], ":")
			_, _ = fmt.Sscanf(hex, "%X", &port)
		}
	}
	return port
}
