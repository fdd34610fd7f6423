package agentinit

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// forkLimit is how long a zygote may take; a start without it takes no longer.
	forkLimit = 10 * time.Second
	// longestNumber is of a process, in digits.
	longestNumber = 32
)

// order is what a fork is told that an exec would have brought along.
type order struct {
	Args   []string `json:"args"`
	Env    []string `json:"env"`
	Dir    string   `json:"dir"`
	Groups []string `json:"groups"`
}

// fork has a zygote deliver the agent into this process's namespace, as its child. Where
// there is no namespace, whoever delivers it stays, and says at last how it ended. nil
// when that cannot be.
func fork(args []string, groups string) *child {
	pid := ask(args, groups)
	if pid == 0 {
		_ = unix.Close(orderFD) // the zygote then knows that nobody waits
		return nil
	}
	for fd := firstFD; fd <= lastFD; fd++ {
		_ = unix.Close(fd) // so that the pipes end with the agent
	}
	if contained() {
		_ = unix.Close(orderFD)
		return &child{pid: pid, wait: func() int { return reap(pid) }}
	}
	return &child{pid: pid, wait: hear}
}

// ask makes the order and returns the process that came of it; 0: none did.
func ask(args []string, groups string) int {
	dir, err := os.Getwd()
	if err != nil {
		return 0
	}
	raw, err := json.Marshal(order{Args: args, Env: os.Environ(), Dir: dir, Groups: strings.FieldsFunc(groups, func(r rune) bool { return r == ',' })})
	if err != nil {
		return 0
	}
	if err := bound(forkLimit); err != nil {
		return 0
	}
	if err := send(raw); err != nil {
		return 0
	}
	pid, err := receive()
	if err != nil {
		return 0
	}
	// Before this the agent does nothing, so that one that came too late ends unheard.
	if err := again(func() error { return unix.Sendto(orderFD, []byte("!"), unix.MSG_NOSIGNAL, nil) }); err != nil {
		return 0
	}
	return pid
}

// bound limits each word to and from the zygote; 0: no limit.
func bound(limit time.Duration) error {
	value := unix.NsecToTimeval(limit.Nanoseconds())
	return errors.Join(
		unix.SetsockoptTimeval(orderFD, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &value),
		unix.SetsockoptTimeval(orderFD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &value))
}

func send(raw []byte) error {
	fds := []int{syscall.Stdout, syscall.Stderr}
	for fd := firstFD; fd <= lastFD; fd++ {
		fds = append(fds, fd)
	}
	if contained() {
		for _, kind := range []string{"pid", "mnt"} {
			namespace, err := os.Open("/proc/self/ns/" + kind)
			if err != nil {
				return err
			}
			defer namespace.Close() //nolint:errcheck // read only
			fds = append(fds, int(namespace.Fd()))
		}
	}
	return again(func() error { return unix.Sendmsg(orderFD, raw, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL) })
}

// receive reads one number.
func receive() (int, error) {
	var text [longestNumber]byte
	var n int
	err := again(func() (err error) {
		n, err = unix.Read(orderFD, text[:])
		return err
	})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text[:n]))
}

// hear waits for the agent's end where somebody else is its parent.
func hear() int {
	if err := bound(0); err != nil {
		return exitInit
	}
	status, err := receive()
	if err != nil {
		return signalBase + int(syscall.SIGKILL) // who kept it was killed, and it with them
	}
	return exitCode(syscall.WaitStatus(status)) //nolint:gosec // as wait(2) gives it
}

// again repeats a call that a signal ended; with a limit set the kernel does not.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
