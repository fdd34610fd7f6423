package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const batchLimit = 25 * time.Minute

// witness is told the side effects of items.
type witness struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string]map[string]int // number of the item, key of the run, times
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{told: map[string]map[string]int{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := r.URL.Query().Get("n")
		if w.told[n] == nil {
			w.told[n] = map[string]int{}
		}
		w.told[n][r.URL.Query().Get("key")]++
	}))
	t.Cleanup(w.Close)
	return w
}

// check fails unless every item had its effect, under one key; tries of the same step
// are told, for steps run at least once.
func (w *witness) check(t *testing.T, items int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	again := 0
	for n := range items {
		keys := w.told[strconv.Itoa(n)]
		if len(keys) != 1 {
			t.Errorf("item %d had its effect under %d keys: %v", n, len(keys), keys)
		}
		for _, times := range keys {
			again += times - 1
		}
	}
	if len(w.told) != items {
		t.Errorf("%d items had effects, want %d", len(w.told), items)
	}
	t.Logf("%d items had their effect under one key each; %d steps were tried again by Temporal", items, again)
}

// batch is a batch of the chaos agent's Note.
type batch struct {
	*victim
	id      string
	items   int
	witness *witness
}

func (v *victim) startBatch(items, concurrency int) *batch {
	v.t.Helper()
	b := &batch{victim: v, items: items, witness: newWitness(v.t)}
	var text bytes.Buffer
	for n := range items {
		fmt.Fprintf(&text, "{\"number\": %d, \"url\": %q}\n", n, b.witness.URL)
	}
	file := filepath.Join(v.project, "inputs.jsonl")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		v.t.Fatal(err)
	}
	out, err := v.program("agentcloud", "batches", "start", "chaos", "Note", "--file", file, "--concurrency", strconv.Itoa(concurrency), "--output", "json")
	var started struct {
		Batch struct {
			BatchID string `json:"batchId"`
		}
	}
	if err != nil || json.Unmarshal(out, &started) != nil {
		v.t.Fatalf("batches start: %v\n%s", err, out)
	}
	b.id = started.Batch.BatchID
	return b
}

// done is how many items have ended, and whether the batch has.
func (b *batch) done() (int, bool, error) {
	out, err := b.program("agentcloud", "batches", "get", b.id, "--output", "json")
	if err != nil {
		return 0, false, fmt.Errorf("%w: %s", err, out)
	}
	var got struct {
		Batch struct {
			State             string
			Completed, Failed int `json:",string"`
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return 0, false, err
	}
	if got.Batch.Failed > 0 {
		b.t.Fatalf("items failed:\n%s", out)
	}
	return got.Batch.Completed, got.Batch.State == "BATCH_STATE_COMPLETED", nil
}

// until waits for so many items to have ended.
func (b *batch) until(items int) {
	b.t.Helper()
	eventually(b.t, batchLimit, func() error {
		n, over, err := b.done()
		if err == nil && n < items || err == nil && items == b.items && !over {
			time.Sleep(200 * time.Millisecond) // between two questions
			return fmt.Errorf("%d of %d items have ended", n, items)
		}
		return err
	})
}

// check fails unless there is exactly one result of each item.
func (b *batch) check() {
	b.t.Helper()
	file := filepath.Join(b.project, "results.jsonl")
	if out, err := b.program("agentcloud", "batches", "results", b.id, "--file", file); err != nil {
		b.t.Fatalf("batches results: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); n++ {
		var row struct {
			Index, Result int
			State         string
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil || row.Index != n || row.Result != n+1 || row.State != "completed" {
			b.t.Errorf("line %d of the results is %s", n, lines.Bytes())
		}
	}
	if n != b.items {
		b.t.Errorf("there are %d results, want %d", n, b.items)
	}
	b.witness.check(b.t, b.items)
}

// killAll is a power cut, after which the cloud is started again.
func (v *victim) killAll() {
	v.hit(blow{target: "cloud"})
}

// TestChaosBatchOfAHundred loses all processes at once on its way, and has each result once. Most of its
// time is the minute after which Temporal gives up moves that were being made.
func TestChaosBatchOfAHundred(t *testing.T) {
	if os.Getenv("AGENTCLOUD_CHAOS") == "" {
		t.Skip("`make chaos` runs this")
	}
	lap := laps(t)
	v := newVictim(t, findTools(t), "--set", "scheduler.tools.heartbeat=10s")
	lap("the deploy")
	b := v.startBatch(100, 20)
	b.until(20)
	lap("20 items")
	v.killAll()
	lap("the power cut and the start")
	b.until(100)
	lap("the other items")
	b.check()
	v.cloud.stop(t)
	v.cloud.searchSecrets(t)
}

// laps tells how long each part of a test took.
func laps(t *testing.T) func(part string) {
	t.Helper()
	began := time.Now()
	return func(part string) {
		t.Logf("%s took %s", part, time.Since(began).Round(100*time.Millisecond))
		began = time.Now()
	}
}

// chaosItems is how many items TestChaosBatch runs: 10,000 unless AGENTCLOUD_CHAOS_ITEMS
// says otherwise.
func chaosItems(t *testing.T) int {
	t.Helper()
	text := os.Getenv("AGENTCLOUD_CHAOS_ITEMS")
	if text == "" {
		return 10_000
	}
	items, err := strconv.Atoi(text)
	if err != nil || items < 100 {
		t.Fatalf("AGENTCLOUD_CHAOS_ITEMS is %q; use a number from 100", text)
	}
	return items
}

// TestChaosBatch loses processes twice on the way of many items, and looks at the memory
// of the scheduler beside that of a tenth of them.
func TestChaosBatch(t *testing.T) {
	if os.Getenv("AGENTCLOUD_CHAOS") == "" {
		t.Skip("`make chaos` runs this")
	}
	v := newVictim(t, findTools(t), "--processes")
	items := chaosItems(t)
	tenth := v.sampled(fmt.Sprintf("%d items", items/10), func() {
		b := v.startBatch(items/10, 50)
		b.until(items / 10)
		b.check()
	})
	began := time.Now()
	b := v.startBatch(items, 50)
	b.until(items / 5)
	v.killAll()
	all := v.sampled(fmt.Sprintf("%d items after the power cut", items), func() {
		b.until(items * 3 / 5)
	})
	for _, target := range []string{"worker", "server", "temporald", "scheduler", "gateway", "registry", "builder", "secretsbroker", "telemetry"} {
		v.hit(blow{target: target, after: 500 * time.Millisecond})
	}
	all = max(all, v.sampled("the rest", func() { b.until(items) }))
	t.Logf("%d items took %s", items, time.Since(began).Round(time.Second))
	b.check()
	if all > tenth+tenth/4 {
		t.Errorf("the scheduler had up to %d MiB with %d items, and %d with a tenth", all>>10, items, tenth>>10)
	}
	v.cloud.stop(t)
	v.cloud.searchSecrets(t)
}

// sampled returns the most memory that the scheduler had during work, KiB.
func (v *victim) sampled(what string, work func()) (most int) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, pid := range v.cloud.processes("scheduler") {
				most = max(most, resident(pid))
			}
			select {
			case <-stop:
				return
			case <-time.After(250 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	work()
	close(stop)
	<-done
	v.t.Logf("%s: at most %d MiB in the scheduler, %s", what, most>>10, time.Since(began).Round(time.Second))
	return most
}

// resident is the memory of a process, KiB; 0 when it is gone.
func resident(pid int) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")))
			return n
		}
	}
	return 0
}
