package commandhost

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// containers starts a program in an image by runc. What runc must be told holds the
// program's variables, and with them secrets: it lies in memory that only this host's
// view of the files has.
type containers struct {
	image agentenv.Image
	dir   string
}

// memory is what the folder of containers may have.
const memory = "mode=0700,size=32m"

func newContainers(image agentenv.Image) (*containers, error) {
	c := &containers{image: image, dir: filepath.Join(os.TempDir(), "containers")}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", c.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, memory); err != nil {
		return nil, fmt.Errorf("make room for what runc is told: %w", err)
	}
	return c, nil
}

// command starts args in a container; gone must be called when it has ended.
func (c *containers) command(args, env []string) (cmd *exec.Cmd, gone func(), err error) {
	raw := make([]byte, idBytes)
	_, _ = rand.Read(raw) // never fails
	id := hex.EncodeToString(raw)
	bundle := filepath.Join(c.dir, "bundle-"+id)
	config, err := json.Marshal(c.spec(args, env))
	if err == nil {
		err = os.Mkdir(bundle, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600)
	}
	if err != nil {
		return nil, nil, err
	}
	state := filepath.Join(c.dir, "state")
	cmd = exec.Command(c.image.Runc, "--root", state, "run", "--bundle", bundle, id) //nolint:gosec // the operator's runc
	return cmd, func() {
		// One that was killed leaves its container to be taken away.
		_ = exec.Command(c.image.Runc, "--root", state, "delete", "--force", id).Run() //nolint:gosec // as above
		_ = os.RemoveAll(bundle)
	}, nil
}

// spec is the container: the image's files, which it cannot change, no capability, and
// namespaces of its own but for the network, where the cloud calls it.
func (c *containers) spec(args, env []string) *specs.Spec {
	bind := func(name string) specs.Mount {
		return specs.Mount{Destination: name, Type: "bind", Source: name, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}}
	}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			User: specs.User{UID: c.image.UID, GID: c.image.GID}, Args: args, Env: env, Cwd: c.image.Folder,
			NoNewPrivileges: true, Capabilities: &specs.LinuxCapabilities{},
		},
		Root: &specs.Root{Path: c.image.Rootfs, Readonly: true},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=64m"}},
			{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}},
			bind("/etc/resolv.conf"), bind("/etc/hosts"),
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			},
			MaskedPaths:   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}
