package allinone

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/mcpagentcloud/agentcloud/pkg/observe"
)

const (
	// longestSocketDir leaves room for "/secretsbroker.sock" in 103 characters.
	longestSocketDir = 80
	logMegabytes     = 20
	logBackups       = 3
)

// folder is the data folder: <room>/ for each room, nats/, temporal/, logs/, run/.
type folder struct {
	root, run string
	lock      *os.File
	closers   []func() error
}

// openFolder makes the folder and takes its lock, which dies with the process.
func openFolder(root string) (*folder, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another `agentcloud up` uses %s already: stop it first, or give this one another folder with --data", root)
	}
	f := &folder{root: root, lock: lock, run: filepath.Join(root, "run")}
	if len(f.run) > longestSocketDir {
		sum := sha256.Sum256([]byte(root))
		f.run = filepath.Join(os.TempDir(), fmt.Sprintf("agentcloud-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8])))
	}
	return f, errors.Join(f.prepare())
}

func (f *folder) prepare() error {
	for _, dir := range []string{f.run, f.logs(), f.path("nats"), f.path("temporal")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	info, err := os.Stat(f.run)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to somebody else: choose a shorter --data folder, so that sockets fit in it", f.run)
	}
	return os.Chmod(f.run, 0o700)
}

func (f *folder) path(name ...string) string {
	return filepath.Join(append([]string{f.root}, name...)...)
}

func (f *folder) logs() string { return f.path("logs") }

// logger writes a bounded file per part.
func (f *folder) logger(name, level string) (*slog.Logger, error) {
	return observe.NewLogger(name, observe.Options{Level: level, Out: f.logFile(name)})
}

func (f *folder) logFile(name string) *lumberjack.Logger {
	out := &lumberjack.Logger{Filename: filepath.Join(f.logs(), name+".log"), MaxSize: logMegabytes, MaxBackups: logBackups}
	f.closers = append(f.closers, out.Close)
	return out
}

func (f *folder) close() {
	for _, c := range f.closers {
		_ = c()
	}
	_ = f.lock.Close()
}
