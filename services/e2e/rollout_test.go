package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// changes are how often the live version changes; every fifth time by a deploy.
	changes     = 10
	manyChanges = 50
	deployEvery = 5
	loadCallers = 3
	loadStreams = 2
)

// TestRolloutsUnderLoad deploys, rolls back and promotes while the app is called, its
// clients listen and its runs wait: no call fails, no stream ends, and each run ends on
// the version that it began on. `make chaos` does so fifty times.
func TestRolloutsUnderLoad(t *testing.T) {
	t.Parallel()
	n := changes
	if os.Getenv("AGENTCLOUD_CHAOS") != "" {
		n = manyChanges
	}
	v := newVictim(t, findTools(t), "--log-level", "info")
	client := &talker{endpoint: v.endpoint()}
	client.open(t)
	load := v.load(client.endpoint)
	waiting := map[string]string{v.startWait(client): "1"}
	live, before := 1, 0
	var slowest time.Duration
	for i := range n {
		switch {
		case i%deployEvery == 0:
			v.deploy(nil)
			live, before = v.version, live
		default:
			began := time.Now()
			v.switched(i, before)
			slowest = max(slowest, time.Since(began))
			live, before = before, live
		}
		eventually(t, recoverLimit, func() error { return v.says("version", fmt.Sprint(live)) })
		waiting[v.startWait(client)] = fmt.Sprint(live)
	}
	calls, failed := load.end()
	t.Logf("%d changes, the slowest rollback or promotion took %s with its command; %d calls meanwhile", n, slowest.Round(time.Millisecond), calls)
	for _, err := range failed {
		t.Error(err)
	}
	for run, version := range waiting {
		if out, err := client.call("workflows-resume", map[string]any{"run_id": run, "payload": map[string]string{"word": "go"}}); err != nil || strings.TrimSpace(out) != "true" {
			t.Errorf("resume of %s: %s, %v", run, out, err)
		}
		eventually(t, recoverLimit, func() error { return client.ended(run, "version "+version+"\"") })
	}
	v.cloud.stop(t)
}

// switched makes the version live that was so before, by turns with and without its number.
func (v *victim) switched(turn, version int) {
	v.t.Helper()
	args := []string{"versions", "rollback", "chaos"}
	if turn%2 == 0 {
		args = []string{"versions", "promote", "chaos", fmt.Sprint(version)}
	}
	if out, err := v.program("agentcloud", args...); err != nil {
		v.t.Fatalf("agentcloud %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// startWait starts a run that waits, and then says the version of its code.
func (v *victim) startWait(client *talker) (run string) {
	v.t.Helper()
	said, err := client.call("workflows-Waits-run", map[string]any{"run_parameters": map[string]any{}})
	if err != nil {
		v.t.Fatal(err)
	}
	return runOf(v.t, said)
}

// load is what an app has to do meanwhile.
type load struct {
	stop   chan struct{}
	calls  atomic.Int64
	group  sync.WaitGroup
	mu     sync.Mutex
	failed []error
}

// load has sessions call the app without a pause, and others listen.
func (v *victim) load(e endpoint) *load {
	l := &load{stop: make(chan struct{})}
	for range loadCallers {
		c := e.open(v.t)
		l.group.Go(func() { l.keepCalling(c) })
	}
	for range loadStreams {
		c := e.open(v.t)
		c.client.Timeout = 0 // a stream has no end
		res, err := c.stream()
		if err != nil {
			v.t.Fatal(err)
		}
		l.group.Go(func() { <-l.stop; _ = res.Body.Close() })
		l.group.Go(func() { l.listen(res) })
	}
	return l
}

func (l *load) keepCalling(c *caller) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		if err := c.call(toolCall("version", map[string]any{})); err != nil {
			l.fail(fmt.Errorf("a call failed: %w", err))
			return
		}
		l.calls.Add(1)
	}
}

// listen reads a stream that must not end before the load does.
func (l *load) listen(res *http.Response) {
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		continue
	}
	select {
	case <-l.stop:
	default:
		l.fail(errors.New("a stream ended"))
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, err)
}

// end ends the load, and says how many calls were answered and what went wrong.
func (l *load) end() (calls int64, failed []error) {
	close(l.stop)
	l.group.Wait()
	return l.calls.Load(), l.failed
}
