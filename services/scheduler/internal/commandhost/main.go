// Package commandhost runs a program that is no Python app as an agent: a server in
// Node, a command, an image. It is to them what pkg/agenthost is to Python, and keeps the
// same contract (pkg/agentenv): this very program, started again under another name,
// serves MCP on the socket that it is given, and speaks to the program by its standard
// input and output or by HTTP.
//
// It knows nothing of apps and versions, reads no message for more than where it goes,
// and writes no secret anywhere.
package commandhost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// name is the argument by which this program is started as a host.
const name = "agentcloud-command-host"

// maxLaunch bounds the launch document.
const maxLaunch = 64 << 20

// Main must be called at the start of a program that runs agents. It does not return
// when the program was started as a host.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == name {
		os.Exit(run())
	}
}

// Command is what starts a host.
func Command() (path string, args []string) { return "/proc/self/exe", []string{name} }

// run is the life of a host.
func run() int {
	for _, fd := range []int{agentenv.FDLaunch, agentenv.FDListener, agentenv.FDLog, agentenv.FDStatus} {
		syscall.CloseOnExec(fd) // the program must not write in our name
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	out := &output{log: os.NewFile(agentenv.FDLog, "log"), status: os.NewFile(agentenv.FDStatus, "status")}
	launch, err := readLaunch(os.NewFile(agentenv.FDLaunch, "launch"))
	if err != nil {
		return out.failed(fmt.Errorf("read what to run: %w", err), "")
	}
	out.hide(launch.Secrets)
	if launch.Role != agentenv.RoleServer {
		out.tell(agentenv.Status{State: agentenv.StateNotNeeded})
		return agentenv.ExitDone
	}
	file := os.NewFile(agentenv.FDListener, "listener")
	lis, err := net.FileListener(file)
	_ = file.Close()
	if err != nil {
		return out.failed(fmt.Errorf("use the socket: %w", err), "")
	}
	return serve(ctx, launch, lis, out)
}

func readLaunch(from io.ReadCloser) (agentenv.Launch, error) {
	defer from.Close() //nolint:errcheck // read only
	var launch agentenv.Launch
	if err := json.NewDecoder(io.LimitReader(from, maxLaunch)).Decode(&launch); err != nil {
		return launch, err
	}
	if launch.Program == nil || len(launch.Program.Args) == 0 && launch.Program.Worker == nil {
		return launch, fmt.Errorf("no program is named")
	}
	return launch, nil
}
