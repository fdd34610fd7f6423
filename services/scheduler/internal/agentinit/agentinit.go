// Package agentinit is the first process of an agent: this very program, started again
// under another name in namespaces of its own. It starts the agent, passes signals on,
// reaps what is orphaned, and ends with the agent; the kernel then ends everything else
// in there, however it tried to get away.
//
// It reads no setting, opens no network and sees no secret.
package agentinit

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// name is what the program is called as an agent's first process.
const name = "agentcloud-agent"

// Descriptors beyond the agent's own (see pkg/agentenv).
const (
	firstFD = 3
	lastFD  = 6
	gateFD  = 7
)

// signalBase is added to a signal's number in an exit code, as shells do.
const signalBase = 128

var ready bool

// Main must be the first call of a program that runs agents. It returns when the
// program was started as itself, and never when it was started as an agent.
func Main() {
	ready = true
	if len(os.Args) > 0 && os.Args[0] == name {
		os.Exit(run(os.Args[1:]))
	}
}

// Command is a command that runs path as an agent. ExtraFiles are the agent's
// descriptors from 3 on and then the gate, which lets it start once it reads a byte.
func Command(path string, args ...string) *exec.Cmd {
	if !ready {
		panic("agentinit.Main was not called at the start of this program")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{name, path}, args...)
	return cmd
}

// Explain says in words how an agent ended.
func Explain(state *os.ProcessState) string {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok {
		return state.String()
	}
	code := status.ExitStatus()
	switch {
	case status.Signaled():
		return "signal " + signalName(status.Signal())
	case code > signalBase:
		return "signal " + signalName(syscall.Signal(code-signalBase))
	}
	return fmt.Sprintf("exit code %d", code)
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGKILL:
		return "9 (killed)"
	case syscall.SIGSEGV:
		return "11 (segmentation fault)"
	case syscall.SIGABRT:
		return "6 (abort)"
	}
	return fmt.Sprintf("%d (%s)", int(s), strings.ToLower(s.String()))
}
