package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// startFigures are the times of single starts, and starts a second of a crowd.
type startFigures struct {
	alone   []time.Duration
	crowded int
}

func (f *startFigures) at(percent int) time.Duration {
	slices.Sort(f.alone)
	return f.alone[len(f.alone)*percent/100]
}

func (f *startFigures) rate() float64 {
	return float64(f.crowded) / (startRounds * startLength).Seconds()
}

const (
	// startAim is how much slower a start may be than by the SDK alone, and how many fewer.
	startAim = 1.3
	// Many short turns, so that what else the machine does meets all ways alike.
	startRounds = 20
	startLength = time.Second
)

// starter has callers start runs for a while, and returns how long each start took.
type starter func(callers int, length time.Duration) []time.Duration

// TestGatewayStartNumbers starts runs through the gateway, by REST and as an MCP client, and
// by Temporal's SDK alone, by turns. The worker stands still meanwhile, so that only
// starts are measured.
func TestGatewayStartNumbers(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	v := newVictim(t, findTools(t), "--log-level", "info", "--set", "scheduler.health.every=15s")
	var here struct{ App string }
	v.get(strings.TrimSuffix(v.endpoint().url, "/mcp"), &here)
	for _, pid := range v.cloud.processes("worker") {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
	ways := map[string]starter{"the SDK": v.bareStarter(here.App), "REST": v.restStarter(here.App), "MCP": v.mcpStarter()}
	names := []string{"the SDK", "REST", "MCP"}
	seen := map[string]*startFigures{"the SDK": {}, "REST": {}, "MCP": {}}
	for round := range startRounds {
		for i := range names {
			name := names[(i*(1+round%2)+round)%len(names)] // each comes after each
			v.quiet()
			seen[name].alone = append(seen[name].alone, ways[name](1, startLength)...)
			v.quiet()
			seen[name].crowded += len(ways[name](crowd, startLength))
		}
	}
	for _, name := range names {
		f := seen[name]
		slower, fewer := float64(f.at(99))/float64(seen["the SDK"].at(99)), seen["the SDK"].rate()/f.rate()
		t.Logf("%-8s p50 %.2f ms, p99 %.2f ms (x %.2f); 16 at once %.0f/s (x %.2f)", name, ms(f.at(50)), ms(f.at(99)), slower, f.rate(), fewer)
		if slower > startAim || fewer > startAim {
			t.Errorf("%s: p99 is x %.2f and throughput x %.2f of the SDK's; the aim is x %.1f", name, slower, fewer, startAim)
		}
	}
}

// quiet waits until the cloud has done what the starts before left it to do.
func (v *victim) quiet() {
	const look, little = 100 * time.Millisecond, 0.03 // seconds of a processor
	eventually(v.t, 20*time.Second, func() error {
		before := processorSeconds([]int{v.cloud.cmd.Process.Pid})
		time.Sleep(look) // what is measured
		if used := processorSeconds([]int{v.cloud.cmd.Process.Pid}) - before; used > little {
			return fmt.Errorf("the cloud took %.2f s of a processor in %v", used, look)
		}
		return nil
	})
}

// bareStarter runs the program that uses Temporal's SDK alone.
func (v *victim) bareStarter(app string) starter {
	program := filepath.Join(v.t.TempDir(), "barestart")
	build := exec.CommandContext(v.t.Context(), "go", "build", "-o", program, "../scheduler/internal/temporaltest/barestart")
	if out, err := build.CombinedOutput(); err != nil {
		v.t.Fatalf("build: %v\n%s", err, out)
	}
	here, err := localcloud.Read(v.cloud.data)
	if err != nil {
		v.t.Fatal(err)
	}
	var profile struct{ User struct{ OrgID string } }
	v.post("/api/user/get_profile", &profile)
	return func(callers int, length time.Duration) (took []time.Duration) {
		cmd := exec.CommandContext(v.t.Context(), program, "-address", here.Temporal, "-namespace", profile.User.OrgID,
			"-queue", agentenv.TaskQueue(app), "-workflow", "Steps", "-callers", strconv.Itoa(callers), "-for", length.String())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &took)
		}
		if err != nil {
			v.t.Fatalf("start by the SDK: %v", err)
		}
		return took
	}
}

func (v *victim) post(path string, answer any) {
	raw, err := v.send(http.DefaultClient, path, `{}`)
	if err == nil {
		err = json.Unmarshal(raw, answer)
	}
	if err != nil {
		v.t.Fatalf("POST %s: %v: %s", path, err, raw)
	}
}

func (v *victim) send(client *http.Client, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.cloud.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+v.cloud.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %s", res.Status)
	}
	return raw, err
}

// restStarter keeps a connection for each caller, as the SDK keeps its own.
func (v *victim) restStarter(app string) starter {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: crowd}}
	v.t.Cleanup(client.CloseIdleConnections)
	start := func() error {
		_, err := v.send(client, "/api/v1/apps/"+app+"/runs", `{"name":"Steps","argumentsJson":"{\"name\":\"rest\"}"}`)
		return err
	}
	return v.starter(slices.Repeat([]func() error{start}, crowd))
}

// mcpStarter has a session for each caller.
func (v *victim) mcpStarter() starter {
	body := toolCall("workflows-Steps-run", map[string]any{"run_parameters": map[string]any{"name": "mcp"}})
	at := v.endpoint()
	var starts []func() error
	for range crowd {
		c := at.open(v.t)
		starts = append(starts, func() error { return c.call(body) })
	}
	return v.starter(starts)
}

// starter has callers start runs, each in its own way to do so.
func (v *victim) starter(starts []func() error) starter {
	return func(callers int, length time.Duration) (took []time.Duration) {
		var mu sync.Mutex
		var group sync.WaitGroup
		end := time.Now().Add(length)
		for _, start := range starts[:callers] {
			group.Go(func() {
				for time.Now().Before(end) {
					began := time.Now()
					err := start()
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
					if err != nil {
						v.t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		return took
	}
}
