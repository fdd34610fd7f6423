package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	rounds      = 3
	alone       = 2 * time.Second
	together    = 3 * time.Second
	crowd       = 16
	longestCall = 30 * time.Second
)

// endpoint is an MCP server by streamable HTTP.
type endpoint struct {
	name, url, key string
	// pids are the processes, with those that they start, whose time is its own; none:
	// that is not measured.
	pids []int
	// prefix is before the names of its tools.
	prefix string
}

// caller is one session at an endpoint. It reads no more of an answer than it must, so
// that what is measured is the server.
type caller struct {
	endpoint
	client  *http.Client
	session string
}

const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}`

func (e endpoint) open(t *testing.T) *caller {
	t.Helper()
	c := &caller{endpoint: e, client: &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: longestCall}}
	if _, err := c.send([]byte(hello)); err != nil {
		t.Fatalf("%s: initialize: %v", e.name, err)
	}
	if _, err := c.send([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		t.Fatalf("%s: initialized: %v", e.name, err)
	}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

func toolCall(tool string, arguments any) []byte {
	raw, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": arguments},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// send posts a message and returns the answer's data.
func (c *caller) send(body []byte) ([]byte, error) {
	req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) && (bytes.HasSuffix(raw, []byte("\r\n\r\n")) || bytes.HasSuffix(raw, []byte("\n\n"))) {
		err = nil // agents' servers, and Go's proxy, sometimes hang up after the last event, not at the stream's end
	}
	if err == nil && res.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("HTTP %d: %s", res.StatusCode, raw)
	}
	if id := res.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	return raw, err
}

// call fails unless the answer is a result that is no error.
func (c *caller) call(body []byte) error {
	raw, err := c.send(body)
	if err != nil {
		return err
	}
	if !bytes.Contains(raw, []byte(`"result"`)) || bytes.Contains(raw, []byte(`"isError":true`)) {
		return fmt.Errorf("answer: %s", raw)
	}
	return nil
}

// figures are what one target did in the median of the rounds.
type figures struct {
	p50  time.Duration
	rate float64 // calls a second of a crowd
	cpu  float64 // seconds of a processor for each of those calls
}

// compare measures targets by turns, the order turned every round.
func compare(t *testing.T, body map[string][]byte, targets ...endpoint) map[string]figures {
	t.Helper()
	seen := map[string][]figures{}
	for round := range rounds {
		for i := range targets {
			e := targets[(i+round)%len(targets)]
			one := figures{p50: latency(t, e, body[e.name])}
			one.rate, one.cpu = rate(t, e, body[e.name])
			seen[e.name] = append(seen[e.name], one)
		}
	}
	medians := map[string]figures{}
	for name, all := range seen {
		medians[name] = figures{
			p50:  median(all, func(f figures) time.Duration { return f.p50 }),
			rate: median(all, func(f figures) float64 { return f.rate }),
			cpu:  median(all, func(f figures) float64 { return f.cpu }),
		}
	}
	return medians
}

func median[T int64 | float64 | time.Duration](all []figures, of func(figures) T) T {
	values := make([]T, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// latency is the median of one caller's calls, one after another.
func latency(t *testing.T, e endpoint, body []byte) time.Duration {
	t.Helper()
	c := e.open(t)
	var took []time.Duration
	for end := time.Now().Add(alone); time.Now().Before(end); {
		began := time.Now()
		if err := c.call(body); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// rate is how many calls a second a crowd gets answered, each with a session of its own,
// and what processor time a call takes.
func rate(t *testing.T, e endpoint, body []byte) (perSecond, cpu float64) {
	t.Helper()
	callers := make([]*caller, crowd)
	for i := range callers {
		callers[i] = e.open(t)
	}
	var group sync.WaitGroup
	counts, errs := make([]int, crowd), make([]error, crowd)
	used, began := processorSeconds(e.pids), time.Now()
	for i, c := range callers {
		group.Go(func() {
			for time.Since(began) < together && errs[i] == nil {
				errs[i] = c.call(body)
				counts[i]++
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	took := time.Since(began).Seconds()
	return float64(total) / took, (processorSeconds(e.pids) - used) / float64(max(total, 1))
}
