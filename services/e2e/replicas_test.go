package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The two replicas of the gateway answer at the same ports of two loopback addresses.
const (
	firstReplica  = "127.0.0.1"
	secondReplica = "127.0.0.2"
	againAfter    = 200 * time.Millisecond
)

// TestTwoGateways runs the scripts that talk most through two gateways as programs of
// their own, behind a proxy that gives each request to the other one than the last.
func TestTwoGateways(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t, findTools(t), "--processes")
	cloud.replicate(t)
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Files: scripts("approvals", "clients", "tasks"),
			Setup: cloud.setup, Cmds: commands(), Condition: cloud.condition, RequireExplicitExec: true,
		})
	})
	if t.Failed() {
		t.Logf("the second gateway said:\n%s", cloud.second.said())
	}
	if first, second := cloud.front.counts(); first == 0 || second == 0 || first > 2*second || second > 2*first {
		t.Errorf("the replicas got %d and %d requests", first, second)
	}
}

func scripts(names ...string) []string {
	var files []string
	for _, name := range names {
		files = append(files, filepath.Join("testdata", "cli", name+".txtar"))
	}
	return files
}

// replicate starts a second gateway beside the cloud's own and puts a proxy before both.
func (c *cloud) replicate(t *testing.T) {
	t.Helper()
	ports := filepath.Join(c.data, "ports.json")
	replica := &replica{t: t, path: filepath.Join(c.tools.bin, "gateway"), args: sets(
		"service.mesh_dir="+filepath.Join(c.data, "run"), "service.listen=unix:"+filepath.Join(c.data, "run", "gateway2.sock"),
		"service.data_dir="+filepath.Join(c.data, "gateway2"), "service.log_level=debug",
		"service.nats=nats://"+c.noted(t, ports, "nats"), "service.nats_token_file="+filepath.Join(c.data, "run", "nats-token"),
		"room.http="+at(t, secondReplica, c.noted(t, ports, "http")), "room.edge.callbacks="+net.JoinHostPort(secondReplica, freePort(t)),
		"room.edge.app_host="+secondReplica, "room.edge.seal_keys="+filepath.Join(c.data, "gateway", "seal.keys"),
	)}
	c.second = replica
	replica.start()
	t.Cleanup(replica.stop)
	c.front = &front{t: t, known: map[string]string{}}
	api, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, startLimit, func() error {
		res, err := http.Get("http://" + at(t, secondReplica, api.Host) + "/readyz")
		if err == nil {
			_ = res.Body.Close()
		}
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("the second gateway is not ready: %s", res.Status)
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, replica.said())
		}
		return err
	})
	c.url = c.front.before(c.url)
}

// at is an address with another host.
func at(t *testing.T, host, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, port)
}

func sets(entries ...string) []string {
	var args []string
	for _, entry := range entries {
		args = append(args, "--set", entry)
	}
	return args
}

// replica is a program that is started again whenever it ends, as a cluster does.
type replica struct {
	t    *testing.T
	path string
	args []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended bool
	done  chan struct{}
}

func (r *replica) start() {
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		for r.once() {
			time.Sleep(againAfter)
		}
	}()
}

// once runs the program to its end; false when there shall be no other.
func (r *replica) once() bool {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return false
	}
	r.cmd = exec.Command(r.path, r.args...) //nolint:gosec // our own binary
	r.cmd.Stdout, r.cmd.Stderr = &locked{r: r}, &locked{r: r}
	err := r.cmd.Start()
	cmd := r.cmd
	r.mu.Unlock()
	if err != nil {
		r.t.Error(err)
		return false
	}
	_ = cmd.Wait() // how it ended is in its output
	return true
}

func (r *replica) stop() {
	r.mu.Lock()
	r.ended = true
	if r.cmd != nil && r.cmd.Process != nil {
		_ = r.cmd.Process.Signal(os.Interrupt)
	}
	r.mu.Unlock()
	select {
	case <-r.done:
	case <-time.After(stopLimit):
		r.t.Errorf("the second gateway does not stop\n%s", r.said())
		_ = r.cmd.Process.Kill()
	}
}

func (r *replica) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// locked writes what a replica says.
type locked struct{ r *replica }

func (l *locked) Write(p []byte) (int, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.r.out.Write(p)
}

// front is a proxy that gives the requests to two replicas by turns. An address of the
// replicas has one before it.
type front struct {
	t     *testing.T
	mu    sync.Mutex
	known map[string]string
	turns atomic.Int64
	sent  [2]atomic.Int64
}

// before is the address before an address of the first replica. One of the proxy's own
// stays as it is.
func (f *front) before(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, own := range f.known {
		if own == u.Host {
			return address
		}
	}
	if f.known[u.Port()] == "" {
		f.known[u.Port()] = f.listen(u.Port())
	}
	return "http://" + f.known[u.Port()] + u.Path
}

// listen serves a port's proxy and returns its address.
func (f *front) listen(port string) string {
	lis, err := net.Listen("tcp", net.JoinHostPort(firstReplica, "0"))
	if err != nil {
		f.t.Fatal(err)
	}
	hosts := [2]string{net.JoinHostPort(firstReplica, port), net.JoinHostPort(secondReplica, port)}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a test's own
		turn := f.turns.Add(1) % 2
		f.sent[turn].Add(1)
		carry(w, r, hosts[turn])
	})}
	go func() { _ = server.Serve(lis) }()
	f.t.Cleanup(func() { _ = server.Close() })
	return lis.Addr().String()
}

// carry gives a request to a host, and its answer back as it comes. The body is read
// first: Go's own proxy sometimes ends an answer that begins before the body's end.
func carry(w http.ResponseWriter, r *http.Request, host string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", host, ""
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := carrier.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	control, part := http.NewResponseController(w), make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(part)
		if n > 0 {
			_, _ = w.Write(part[:n])
			_ = control.Flush()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

var carrier = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}

func (f *front) counts() (first, second int64) { return f.sent[0].Load(), f.sent[1].Load() }
