package telemetry_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

func newBus(t testing.TB) *bus.Bus {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command(os.Getenv("AGENTCLOUD_NATS_SERVER"), "-a", "127.0.0.1", "-p", fmt.Sprint(addr.Port), "-js", "-sd", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, _ := cmd.StderrPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool)
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			if strings.Contains(s.Text(), "Server is ready") {
				close(ready)
			}
		}
	}()
	<-ready
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	b, err := bus.Connect(bus.Options{URL: fmt.Sprintf("nats://127.0.0.1:%d", addr.Port), Log: grpctest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Conn().Close)
	return b
}
