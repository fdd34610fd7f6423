package agentinit

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
)

// sidecarGateFD is the one descriptor that a sidecar's first process has beyond the usual.
const sidecarGateFD = 3

// runSidecar is the life of a sidecar's first process.
func runSidecar(args []string) int {
	runtime.LockOSThread() // the child dies with this thread, which is the main one
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the first process:", err)
		return exitInit
	}
	if !pass(sidecarGateFD) {
		return exitInit // the runtime died before the sidecar began
	}
	pid, err := startSidecar(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitInit
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGQUIT {
				s = syscall.SIGKILL
			}
			_ = syscall.Kill(-pid, s.(syscall.Signal)) //nolint:forcetypeassert // Notify gives nothing else
		}
	}()
	code := reap(pid)
	killOrphans()
	return code
}

func startSidecar(args []string) (int, error) {
	const least = 2 // the bound and the program
	if len(args) < least {
		return 0, fmt.Errorf("no program was named")
	}
	files, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return 0, err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}); err != nil {
		return 0, fmt.Errorf("bound open files: %w", err)
	}
	cmd := exec.Command(args[1], args[2:]...) //nolint:gosec // this is what it is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	// So that the pipes end with the sidecar.
	_, _ = os.Stdin.Close(), os.Stdout.Close()
	return cmd.Process.Pid, nil
}
