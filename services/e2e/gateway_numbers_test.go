package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// crowded is how many sessions with a stream are held.
	crowded     = 10_000
	manyHands   = 16
	largeCalls  = 24
	largeAnswer = 1 << 20
	// peersIn is a folder with peers to measure beside the gateway, as `make bench PEERS=1`
	// makes it.
	peersIn = "AGENTCLOUD_PEERS"
)

// TestGatewayNumbers measures the gateway beside Go's reverse proxy, bare and with what
// a gateway cannot do without, and beside peers that are installed, all before one
// upstream. Authentication, limits, the record of requests and traces are on.
func TestGatewayNumbers(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	tools := findTools(t)
	direct := startBeside(t, roleUpstream, "direct", "")
	target := strings.TrimSuffix(direct.url, "/mcp")
	bare := startBeside(t, roleBare, "bare proxy", target)
	full := startBeside(t, roleFeatures, "proxy with features", target)
	ours := connected(t, tools, direct.url)
	peers := startPeers(t, direct.url)
	everybody := append([]endpoint{direct, bare, full, ours}, peers...)

	seen := compare(t, echoes(everybody), everybody...)
	us, raw, featured := seen[ours.name], seen[bare.name], seen[full.name]
	all := []figure{
		besideFigure("processor time per call, 16 workers", full.name, micros(us.cpu), micros(featured.cpu), us.cpu/featured.cpu, 1.5, false),
		besideFigure("calls per second, 16 workers", full.name, us.rate, featured.rate, us.rate/featured.rate, 0.8, true),
		besideFigure("echo, one worker, p50 in ms", full.name, ms(us.p50), ms(featured.p50), float64(us.p50)/float64(featured.p50), 1.5, false),
	}
	large := largeAnswers(t, ours, bare)
	all = append(all,
		besideFigure("answer of 1 MiB, p50 in ms", bare.name, ms(large[0]), ms(large[1]), float64(large[0])/float64(large[1]), 1.3, false),
		progressFigure(t, ours))
	for _, peer := range peers {
		all = append(all, besideFigure("calls per second, 16 workers", peer.name, us.rate, seen[peer.name].rate, us.rate/seen[peer.name].rate, 8, true))
	}
	begun := map[string]float64{}
	for _, e := range []endpoint{ours, bare, ours, bare} {
		begun[e.name] += sessionsPerSecond(t, e) / 2
	}
	all = append(all, besideFigure("sessions begun per second", bare.name, begun[ours.name], begun[bare.name], begun[ours.name]/begun[bare.name], 0.6, true))
	all = append(all, memoryFigure(t, ours))
	t.Logf("bare proxy: %.0f calls/s, %.0f µs of a processor each; direct: %.0f calls/s", raw.rate, micros(raw.cpu), seen[direct.name].rate)
	report(t, all, gatewayBegin)
}

// connected is the gateway of a cloud with limits, before an upstream.
func connected(t *testing.T, tools tools, upstream string) endpoint {
	t.Helper()
	c := startCloud(t, tools, "--processes", "--log-level", "info",
		"--set", "gateway.edge.sessions=20000", "--set", "gateway.edge.sessions_per_caller=20000")
	out := c.agentcloud(t, "apps", "connect", "bench", "--url", upstream)
	found := regexp.MustCompile(`http://\S+`).Find(out)
	c.agentcloud(t, "limits", "set", "--app", "bench", "--calls-per-second", "1000000", "--concurrent", "20000")
	c.agentcloud(t, "limits", "set", "--together", "--calls-per-second", "1000000")
	if found == nil {
		t.Fatalf("apps connect says no address: %s", out)
	}
	return endpoint{name: "the gateway", url: strings.TrimSuffix(strings.TrimSuffix(string(found), "/"), "/mcp") + "/mcp", key: c.key, pids: c.processes("gateway")}
}

// agentcloud runs our own command line as the cloud's administrator.
func (c *cloud) agentcloud(t *testing.T, args ...string) []byte {
	t.Helper()
	v := &victim{t: t, cloud: c, project: t.TempDir()}
	out, err := v.program("agentcloud", args...)
	if err != nil {
		t.Fatalf("agentcloud %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// echoes are what is called at each.
func echoes(all []endpoint) map[string][]byte {
	bodies := map[string][]byte{}
	for _, e := range all {
		bodies[e.name] = toolCall(e.prefix+"echo", map[string]any{"message": "hello"})
	}
	return bodies
}

func micros(seconds float64) float64 { return seconds * 1e6 }

// besideFigure is a ratio to another, and whether it is as it should be.
func besideFigure(what, other string, us, them, ratio, aim float64, atLeast bool) figure {
	word, met := "at most", ratio <= aim
	if atLeast {
		word, met = "at least", ratio >= aim
	}
	return figure{what + ", against " + other, fmt.Sprintf("%.4g to %.4g: × %.2f", us, them, ratio), fmt.Sprintf("%s × %g", word, aim), met}
}

// largeAnswers are the medians of two targets, called by turns. Go's proxy sometimes ends
// such an answer early; that call does not count.
func largeAnswers(t *testing.T, targets ...endpoint) []time.Duration {
	t.Helper()
	took := make([][]figures, len(targets))
	callers := make([]*caller, len(targets))
	for i, e := range targets {
		callers[i] = e.open(t)
	}
	for i := range largeCalls {
		for j := range targets {
			k := (i + j) % len(targets)
			began := time.Now()
			if err := callers[k].call(toolCall("big", map[string]any{"bytes": largeAnswer})); err == nil {
				took[k] = append(took[k], figures{p50: time.Since(began)})
			}
		}
	}
	medians := make([]time.Duration, len(targets))
	for i, all := range took {
		if len(all) < largeCalls/2 {
			t.Fatalf("%s: only %d of %d large answers came", targets[i].name, len(all), largeCalls)
		}
		medians[i] = median(all, func(f figures) time.Duration { return f.p50 })
	}
	return medians
}

func progressFigure(t *testing.T, e endpoint) figure {
	t.Helper()
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"steps","arguments":{},"_meta":{"progressToken":"p"}}}`)
	raw, err := e.open(t).send(body)
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Count(raw, []byte("notifications/progress"))
	return figure{"progress that arrives in the call's own stream", fmt.Sprintf("%d of 20", got), "20 of 20", got == 20}
}

// sessionsPerSecond begins and ends sessions for a while, many at once.
func sessionsPerSecond(t *testing.T, e endpoint) float64 {
	t.Helper()
	var begun atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range manyHands {
		group.Go(func() {
			for time.Since(began) < together {
				c := &caller{endpoint: e, client: http.DefaultClient}
				if _, err := c.send([]byte(hello)); err != nil {
					t.Errorf("%s: %v", e.name, err)
					return
				}
				c.end()
				begun.Add(1)
			}
		})
	}
	group.Wait()
	return float64(begun.Load()) / time.Since(began).Seconds()
}

// memoryFigure holds many sessions, each with its stream open.
func memoryFigure(t *testing.T, e endpoint) figure {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: manyHands}}
	before := pssKiB(t, e.pids)
	streams := make(chan *http.Response, crowded)
	var left atomic.Int64
	left.Store(crowded)
	var group sync.WaitGroup
	for range manyHands {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				c := &caller{endpoint: e, client: client}
				if _, err := c.send([]byte(hello)); err != nil {
					t.Errorf("%s: %v", e.name, err)
					return
				}
				res, err := c.stream()
				if err != nil {
					t.Errorf("%s: %v", e.name, err)
					return
				}
				streams <- res
			}
		})
	}
	group.Wait()
	close(streams)
	held := len(streams)
	each := float64(pssKiB(t, e.pids)-before) / float64(max(held, 1))
	for res := range streams {
		_ = res.Body.Close()
	}
	return figure{
		fmt.Sprintf("memory per session with an open stream, %d sessions", held), fmt.Sprintf("%.1f KiB", each),
		"at most 30 KiB", held == crowded && each <= 30,
	}
}

// stream opens the session's own stream.
func (c *caller) stream() (*http.Response, error) {
	res, err := c.bare(http.MethodGet)
	if err == nil && res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		err = fmt.Errorf("the stream: %s", res.Status)
	}
	return res, err
}

// end ends the session.
func (c *caller) end() {
	if res, err := c.bare(http.MethodDelete); err == nil {
		_ = res.Body.Close()
	}
}

func (c *caller) bare(method string) (*http.Response, error) {
	req, err := http.NewRequest(method, c.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Mcp-Session-Id", c.session)
	return c.client.Do(req)
}

// pssKiB is what processes and those they started take of the memory.
func pssKiB(t *testing.T, pids []int) int {
	t.Helper()
	total := 0
	for _, pid := range family(pids) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		if found := pss.FindSubmatch(raw); found != nil {
			kib, _ := strconv.Atoi(string(found[1]))
			total += kib
		}
	}
	return total
}

// family are processes with all their descendants.
func family(roots []int) []int {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if fields := statOf(pid); len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], pid)
		}
	}
	var all []int
	for queue := append([]int(nil), roots...); len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// statOf is proc(5)'s stat from the state of the process on.
func statOf(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
}

// processorSeconds is the time that processes and their descendants have used.
func processorSeconds(pids []int) float64 {
	const ticksPerSecond = 100
	ticks := 0.0
	for _, pid := range family(pids) {
		fields := statOf(pid)
		if len(fields) < 15 {
			continue
		}
		for _, field := range fields[11:15] { // its own, and of children that have ended
			n, _ := strconv.ParseFloat(field, 64)
			ticks += n
		}
	}
	return ticks / ticksPerSecond
}
