// Package agentinit is the first process of an agent: a small program of its own or this
// very one, started under another name in namespaces of their own. It starts the agent, passes signals on,
// reaps what is orphaned, and ends with the agent; the kernel then ends everything else
// in there, however it tried to get away.
//
// It reads no setting, opens no network and sees no secret.
package agentinit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// name is what the program is called as an agent's first process, and sidecarName as
// that of a process that speaks over standard input and output.
const (
	name        = "agentcloud-agent"
	sidecarName = "agentcloud-sidecar"
)

// Descriptors beyond the agent's own (see pkg/agentenv).
const (
	firstFD = 3
	lastFD  = 6
	gateFD  = 7
	orderFD = 8
)

// orderFlag is the first argument when there is a zygote; what follows it are the files
// by which a process enters the agent's groups.
const orderFlag = "-order="

// signalBase is added to a signal's number in an exit code, as shells do.
const signalBase = 128

var ready bool

// Main must be the first call of a program that runs agents. It returns when the
// program was started as itself, and never when it was started as an agent.
func Main() {
	ready = true
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case name:
		os.Exit(run(os.Args[1:]))
	case sidecarName:
		os.Exit(runSidecar(os.Args[1:]))
	}
}

// Find returns the small program that stands beside this one; empty when it does not.
func Find() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	beside := filepath.Join(filepath.Dir(self), "agentinit")
	if info, err := os.Stat(beside); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return ""
	}
	return beside
}

// Command is a command that runs path as an agent, with a program of Find as its first
// process, or this one. ExtraFiles are the agent's descriptors from 3 on and then the gate,
// which lets it start once it reads a byte.
func Command(program, path string, args ...string) *exec.Cmd {
	if !ready {
		panic("agentinit.Main was not called at the start of this program")
	}
	if program == "" {
		program = "/proc/self/exe"
	}
	cmd := exec.Command(program)
	cmd.Args = append([]string{name, path}, args...)
	return cmd
}

// Fork lets a command of Command ask a zygote (pkg/agenthost) for the agent, at whose
// other end of order it waits. groups are the files by which a process enters the agent's
// groups. When the zygote does not deliver, the command starts the agent as if it had not
// been asked.
func Fork(cmd *exec.Cmd, order *os.File, groups []string) {
	cmd.Args = slices.Insert(cmd.Args, 1, orderFlag+strings.Join(groups, ","))
	cmd.ExtraFiles = append(cmd.ExtraFiles, order)
}

// Sidecar is a command that runs a program with its own standard input and output, in a
// session of its own, and at most files open files. Its one extra file is the gate.
// SIGTERM goes to the whole session; SIGQUIT kills it.
func Sidecar(files uint64, path string, args ...string) *exec.Cmd {
	cmd := Command(Find(), path, args...)
	cmd.Args = append([]string{sidecarName, strconv.FormatUint(files, 10), path}, args...)
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
