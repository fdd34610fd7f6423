package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	floodRuns = 5000
	// floodStep is how long a step of the flood takes, as a short call of a model does.
	floodStep = 0.1
	urgent    = 60
)

// flooded is a cloud with an app whose runs are one step.
type flooded struct {
	t     *testing.T
	cloud *cloud
	app   string
}

// TestNumbersUnderAFlood measures how long urgent runs wait for their first step: on an
// idle cloud, and while thousands of runs of the lowest priority wait.
func TestNumbersUnderAFlood(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	f := newFlooded(t)
	f.waits(5) // connections and caches
	idle := f.waits(urgent)
	before := f.ended()
	began := time.Now()
	f.start(floodRuns)
	took := time.Since(began)
	alone := f.rate(func() { f.until(f.ended() + 300) })
	var busy []time.Duration
	beside := f.rate(func() { busy = f.waits(urgent) })
	left := before + floodRuns + urgent - f.ended()
	t.Logf("idle: p50 %s, p95 %s; %d runs started in %s; %.0f a second end, and %.0f while urgent ones come, whose p50 is %s, p95 %s; %d are left",
		percentile(idle, 50), percentile(idle, 95), floodRuns, took.Round(time.Second), alone, beside, percentile(busy, 50), percentile(busy, 95), left)
	if left < floodRuns/10 {
		t.Errorf("the flood was over before the measurement was: %d are left", left)
	}
	if percentile(busy, 95) > 2*percentile(idle, 95) {
		t.Errorf("p95 of the wait under the flood is %s, on an idle cloud %s; the aim is twice that", percentile(busy, 95), percentile(idle, 95))
	}
}

func newFlooded(t *testing.T) *flooded {
	t.Helper()
	v := &victim{t: t, cloud: startCloud(t, findTools(t), "--log-level", "info"), project: filepath.Join(shortDir(t), "flood")}
	if err := os.CopyFS(v.project, os.DirFS("testdata/flood")); err != nil {
		t.Fatal(err)
	}
	f := &flooded{t: t, cloud: v.cloud}
	for range 2 { // the bound of steps holds from the second version on
		if out, err := v.program("mcp-agent", "deploy", "flood", "--non-interactive"); err != nil {
			t.Fatalf("the deploy did not work: %v\n%s", err, out)
		}
		if f.app != "" {
			break
		}
		var listed struct{ Targets []struct{ TargetID string } }
		f.ask(http.MethodGet, "/v1/queues", nil, &listed)
		f.app = listed.Targets[0].TargetID
		limits := map[string]any{"limits": map[string]int{"steps": number("FLOOD_STEPS"), "workflows": number("FLOOD_WORKFLOWS")}}
		f.ask(http.MethodPut, "/v1/apps/"+f.app+"/queues/limits", limits, nil)
	}
	return f
}

func number(variable string) int {
	n, _ := strconv.Atoi(os.Getenv(variable)) // without one: as usual
	return n
}

func (f *flooded) ask(method, path string, in, out any) {
	f.t.Helper()
	f.cloud.ask(f.t, method, path, in, out)
}

// begin starts a run and returns its id.
func (f *flooded) begin(priority int, seconds float64) (string, error) {
	var started struct{ RunID string }
	err := f.cloud.try(f.t, http.MethodPost, "/v1/apps/"+f.app+"/runs", map[string]any{
		"name": "Step", "priority": priority, "argumentsJson": fmt.Sprintf(`{"seconds":%g}`, seconds),
	}, &started)
	return started.RunID, err
}

func (f *flooded) start(n int) {
	f.t.Helper()
	var all errgroup.Group
	all.SetLimit(16)
	for range n {
		all.Go(func() error {
			_, err := f.begin(5, floodStep)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		f.t.Fatal(err)
	}
}

// waits are the times from n calls that start urgent runs to the beginnings of their
// steps, sorted.
func (f *flooded) waits(n int) []time.Duration {
	f.t.Helper()
	var waits []time.Duration
	for range n {
		called := time.Now()
		id, err := f.begin(1, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		var got struct{ Run struct{ ResultJSON string } }
		for got.Run.ResultJSON == "" {
			f.ask(http.MethodGet, "/v1/apps/"+f.app+"/runs/"+id+"?wait=60s", nil, &got)
		}
		var result struct{ Value float64 }
		if err := json.Unmarshal([]byte(got.Run.ResultJSON), &result); err != nil || result.Value == 0 {
			f.t.Fatalf("result = %s, %v", got.Run.ResultJSON, err)
		}
		waits = append(waits, time.UnixMicro(int64(result.Value*1e6)).Sub(called))
	}
	slices.Sort(waits)
	return waits
}

// ended is how many runs are over. What it counts may be a moment old.
func (f *flooded) ended() (n int) {
	f.t.Helper()
	var counted struct {
		Statuses []struct{ Status, Count string }
	}
	f.ask(http.MethodGet, "/v1/runs:count", nil, &counted)
	for _, s := range counted.Statuses {
		if s.Status == "RUN_STATUS_COMPLETED" {
			n, _ = strconv.Atoi(s.Count)
		}
	}
	return n
}

// until waits for the n-th end of a run.
func (f *flooded) until(n int) {
	f.t.Helper()
	eventually(f.t, time.Minute, func() error {
		if ended := f.ended(); ended < n {
			return fmt.Errorf("%d runs are over, not %d", ended, n)
		}
		return nil
	})
}

// rate is how many runs end a second while something is done.
func (f *flooded) rate(do func()) float64 {
	f.t.Helper()
	began, before := time.Now(), f.ended()
	do()
	return float64(f.ended()-before) / time.Since(began).Seconds()
}

// percentile is a percentile of what is sorted.
func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(time.Millisecond / 10)
}
