package agentinit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	exitInit = 125
	// sweeps bounds how often orphans of orphans are looked for.
	sweeps = 10
)

// run is the life of the first process.
func run(args []string) int {
	runtime.LockOSThread() // the child dies with this thread, which is the main one
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the agent's first process:", err)
		return exitInit
	}
	if !pass(gateFD) {
		return exitInit // the runtime died before the agent began
	}
	agent, err := begin(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the agent:", err)
		return exitInit
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(agent.pid, s.(syscall.Signal)) //nolint:forcetypeassert // Notify gives nothing else
		}
	}()
	debug.FreeOSMemory() // what the whole program's packages need, this process does not
	code := agent.wait()
	killOrphans()
	return code
}

// contained says whether this is the first process of a namespace.
func contained() bool { return os.Getpid() == 1 }

// child is the agent.
type child struct {
	pid  int
	wait func() int // until its end, and returns its exit code
}

// prepare gives a new PID namespace its own view of /proc.
func prepare() error {
	if !contained() {
		return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, "")
}

// pass waits until the runtime has put limits on this process.
func pass(fd uintptr) bool {
	gate := os.NewFile(fd, "gate")
	defer gate.Close() //nolint:errcheck // read only
	var b [1]byte
	n, err := gate.Read(b[:])
	return n == 1 && err == nil
}

// begin has the agent forked where there is a zygote, and starts it where there is none.
func begin(args []string) (*child, error) {
	if len(args) > 0 {
		if groups, ok := strings.CutPrefix(args[0], orderFlag); ok {
			args = args[1:]
			if agent := fork(args, groups); agent != nil {
				return agent, nil
			}
		}
	}
	return start(args)
}

func start(args []string) (*child, error) {
	if len(args) == 0 {
		return nil, errors.New("no program was named")
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // this is what it is for
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for fd := uintptr(firstFD); fd <= lastFD; fd++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(fd, strconv.Itoa(int(fd)))) //nolint:gosec // 3 to 6
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close() // so that the pipes end with the agent
	}
	return &child{pid: cmd.Process.Pid, wait: func() int { return reap(cmd.Process.Pid) }}, nil
}

// reap waits for the agent and for every orphan until the agent has ended.
func reap(pid int) int {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return exitInit
		case ended == pid:
			return exitCode(status)
		}
	}
}

// exitCode is an end in the words of a shell.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return signalBase + int(status.Signal())
	}
	return status.ExitStatus()
}

// killOrphans ends what the agent left behind where no namespace does it.
func killOrphans() {
	if contained() {
		return
	}
	for range sweeps {
		children := childrenOf(os.Getpid())
		if len(children) == 0 {
			return
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

func childrenOf(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// "pid (comm) state ppid …"; comm may hold anything (proc(5)).
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}
