package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
)

const (
	// zygoteStart is how long the imports may take; without a zygote an agent's would
	// take no longer.
	zygoteStart = time.Minute
	// zygoteEnd is how long one may take to end by itself, and its output to be read.
	zygoteEnd = 2 * time.Second
	// orderLimit is how long one may leave an order lying.
	orderLimit = 5 * time.Second
	// zygoteWords bounds what is kept of its output.
	zygoteWords = 8 << 10
	zygoteDir   = "zygotes"
)

// zygote is a process that has imported what agents of an environment need, and forks
// them (pkg/agenthost). It is told nothing of them.
type zygote struct {
	environment string
	scratch     string
	name        string // of its group
	cmd         *exec.Cmd
	control     *net.UnixConn
	words       *words

	ready chan struct{} // closed when it forks, or never will
	gone  chan struct{} // closed when its process has ended
	once  sync.Once
	end   chan struct{} // closed when it is to go
	why   string        // it never will; set before ready is closed

	// Guarded by zygotes.mu.
	used    time.Time
	waiting int // agents that want a fork of it
}

// spawn starts a zygote; its imports go on when it returns.
func (z *zygotes) spawn(venv string) (*zygote, error) {
	z.count++
	y := &zygote{
		environment: venv, name: strconv.Itoa(z.count), scratch: filepath.Join(z.options.Dir, scratchDir, zygoteDir, strconv.Itoa(z.count)),
		words: &words{}, ready: make(chan struct{}), gone: make(chan struct{}), end: make(chan struct{}),
	}
	for _, dir := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(y.scratch, dir), 0o700); err != nil {
			return nil, err
		}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()                                                                                                         //nolint:errcheck // the zygote has its own by then
	y.cmd = exec.Command(filepath.Join(venv, "bin", "python"), "-X", "utf8", filepath.Join(z.host, agenthost.Package), "zygote") //nolint:gosec // an environment that the builder made
	y.cmd.Dir, y.cmd.Env = "/", environment(venv, y.scratch)
	y.cmd.Stdout, y.cmd.Stderr, y.cmd.WaitDelay = y.words, y.words, zygoteEnd
	y.cmd.ExtraFiles = []*os.File{theirs}
	y.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := z.starter.start(y.cmd); err != nil {
		_ = ours.Close()
		return nil, err
	}
	y.control = ours
	return y, y.control.SetReadDeadline(time.Now().Add(zygoteStart))
}

// pair is a socket whose messages stay apart, as one connection and one file.
func pair() (*net.UnixConn, *os.File, error) {
	ours, theirs, err := filePair()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close() //nolint:errcheck // FileConn has its own
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("talk to a zygote: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil //nolint:forcetypeassert // a socket of the Unix domain
}

func filePair() (one, other *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("talk to a zygote: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "zygote"), os.NewFile(uintptr(fds[1]), "zygote"), nil
}

// born is what a zygote says of itself once it forks.
type born struct {
	Memory  int64 `json:"memory"`
	Modules int   `json:"modules"`
	MS      int   `json:"ms"`
}

// await returns when the imports are done, or why they came to nothing.
func (y *zygote) await(limit int64) (born, error) {
	var said born
	text := make([]byte, 1<<10) //nolint:mnd // three numbers
	n, err := y.control.Read(text)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return said, fmt.Errorf("its imports took longer than %s", zygoteStart)
	case err != nil || n == 0:
		return said, errors.New("it ended")
	}
	if err := json.Unmarshal(text[:n], &said); err != nil {
		return said, fmt.Errorf("it said %q: %w", text[:n], err)
	}
	if limit > 0 && said.Memory > limit {
		return said, fmt.Errorf("it has %d MiB of memory, and %d are allowed (zygotes.memory_mb)", said.Memory>>20, limit>>20)
	}
	return said, nil
}

// order returns a file at whose other end a fork waits to be told what it is.
func (y *zygote) order() (*os.File, error) {
	ours, theirs, err := filePair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() //nolint:errcheck // it is on its way
	if err := y.control.SetWriteDeadline(time.Now().Add(orderLimit)); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	if _, _, err := y.control.WriteMsgUnix([]byte{'+'}, unix.UnixRights(int(theirs.Fd())), nil); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return ours, nil
}

// stop asks it to go; its forks live on.
func (y *zygote) stop() {
	y.once.Do(func() {
		close(y.end)
		_ = y.control.SetReadDeadline(time.Now()) // nobody waits for its imports any more
	})
}

func (y *zygote) stopping() bool {
	select {
	case <-y.end:
		return true
	default:
		return false
	}
}

// words keeps the end of what a zygote writes.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if over := len(w.text) - zygoteWords; over > 0 {
		w.text = bytes.Clone(w.text[over:])
	}
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(w.text), "\uFFFD"))
}
