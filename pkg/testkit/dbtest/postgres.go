package dbtest

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

var (
	cluster    = sync.OnceValues(startCluster)
	nextSchema atomic.Int64
)

// Postgres opens an empty schema of a temporary cluster that all tests of the binary
// share, or of the server that AGENTCLOUD_TEST_POSTGRES names.
func Postgres(t *testing.T, migrations fs.FS) *sqldb.DB {
	t.Helper()
	address, err := cluster()
	if err != nil && os.Getenv("AGENTCLOUD_REQUIRE_POSTGRES") == "" {
		t.Skipf("no Postgres here (%v); `make test` installs one", err)
	}
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	schema := fmt.Sprintf("test_%d_%d", os.Getpid(), nextSchema.Add(1))
	return open(t, address+"&search_path="+schema, migrations)
}

// startCluster makes a cluster that ends with this process. Postgres refuses to run
// as root, so it runs as another user then.
func startCluster() (string, error) {
	if address := os.Getenv("AGENTCLOUD_TEST_POSTGRES"); address != "" {
		return address, nil
	}
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	sweep()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	identity, err := credential(dir)
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	initdb := command(identity, filepath.Join(bin, "initdb"), "-A", "trust", "-U", "postgres", "-N", "-D", data)
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := command(identity, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	if err := server.Start(); err != nil {
		return "", err
	}
	go reap(server)
	address := "postgres:///postgres?user=postgres&host=" + url.QueryEscape(dir)
	return address, waitReady(identity, bin, dir)
}

const (
	prefix = "agentcloud-postgres-"
	// starting is how long a cluster may take until it runs.
	starting = time.Minute
)

// sweep deletes what earlier clusters have left: each outlives its process by a moment, so
// none can do it for itself.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range left {
		info, err := os.Stat(dir)
		_, running := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
		if err == nil && os.IsNotExist(running) && time.Since(info.ModTime()) > starting {
			_ = os.RemoveAll(dir) // another user's stays
		}
	}
}

// reap only collects the child; its parent's death ends it.
func reap(server *exec.Cmd) { _ = server.Wait() }

func waitReady(identity *syscall.Credential, bin, dir string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := command(identity, filepath.Join(bin, "pg_isready"), "-q", "-h", dir, "-U", "postgres").Run()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // waits on a condition of another process
	}
}

func command(identity *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) //nolint:noctx // lives as long as the test binary
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT, Credential: identity}
	return cmd
}

// credential gives dir to the user that Postgres will run as; nil when that is us.
func credential(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// binaries finds the folder of Postgres' programs; Debian keeps it out of PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil && !strings.HasPrefix(path, "/usr/local/") {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("initdb is not installed")
	}
	return filepath.Dir(found[len(found)-1]), nil
}
