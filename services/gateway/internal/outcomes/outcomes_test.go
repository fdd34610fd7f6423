package outcomes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/outcomes"
)

// scheduler takes reports, as long as it is there.
type scheduler struct {
	mu      sync.Mutex
	away    bool
	ended   []string
	reports []*schedulerv1.ReportOutcomesRequest
}

func (s *scheduler) ReportOutcomes(_ context.Context, req *schedulerv1.ReportOutcomesRequest, _ ...grpc.CallOption) (*schedulerv1.ReportOutcomesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, req)
	if s.away {
		return nil, errors.New("it is away")
	}
	return &schedulerv1.ReportOutcomesResponse{EndedRolloutIds: s.ended}, nil
}

func (s *scheduler) now(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// last is the newest report of a rollout that came after so many; nil when there is none.
func (s *scheduler) last(after int, rollout string) *schedulerv1.VersionOutcomes {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.reports) - 1; i >= after; i-- {
		for _, o := range s.reports[i].GetOutcomes() {
			if o.GetRolloutId() == rollout {
				return o
			}
		}
	}
	return nil
}

func (s *scheduler) count() (n int) {
	s.now(func() { n = len(s.reports) })
	return n
}

var fine = []byte(`{"result":{}}`)

func newCounter(t *testing.T, s *scheduler) *outcomes.Counter {
	t.Helper()
	c := outcomes.New(outcomes.Deps{Scheduler: s, GatewayID: "gw_1", Every: time.Millisecond, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	edgetest.Background(t, c.Run)
	return c
}

// Counts are told whole in each report, users until one has arrived, and nothing after the
// rollout's end.
func TestReports(t *testing.T) {
	t.Parallel()
	s := &scheduler{away: true}
	c := newCounter(t, s)
	for _, user := range []string{"a", "b", "a"} {
		c.Begin("rol_1", "ver_1", user).End(t.Context(), fine, nil)
	}
	c.Begin("rol_1", "ver_1", "c").End(t.Context(), nil, fault.Unavailable.Errorf("it broke"))
	c.Begin("rol_1", "ver_1", "d").End(t.Context(), nil, fault.Exhausted.Errorf("the gateway refuses"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c.Begin("rol_1", "ver_1", "e").End(gone, nil, gone.Err())
	whole := func(o *schedulerv1.VersionOutcomes, users, failed int) bool {
		return o.GetCalls() == 4 && o.GetFailures() == 1 && len(o.GetUsers()) == users && len(o.GetFailedUsers()) == failed
	}
	for range 2 {
		before := s.count()
		edgetest.Until(t, "all is told, again while nobody has heard it", func() bool { return whole(s.last(before, "rol_1"), 3, 1) })
	}
	s.now(func() { s.away = false })
	edgetest.Until(t, "users are told once", func() bool { return whole(s.last(s.count()-1, "rol_1"), 0, 0) })
	s.now(func() { s.ended = []string{"rol_1"} })
	c.Begin("rol_2", "ver_2", "a").End(t.Context(), fine, nil)
	edgetest.Until(t, "the ended one is told no more", func() bool {
		last := s.count() - 1
		return s.last(last, "rol_2") != nil && s.last(last, "rol_1") == nil
	})
}

// So many users are told apart, some at a time; of the others only calls are counted.
func TestUsersAreBounded(t *testing.T) {
	t.Parallel()
	s := &scheduler{}
	c := newCounter(t, s)
	const all, most = 100_500, 100_000
	for i := range all {
		c.Begin("rol_1", "ver_1", fmt.Sprint(i)).End(t.Context(), fine, nil)
	}
	edgetest.Until(t, "all are told", func() bool {
		last := s.count() - 1
		o := s.last(last, "rol_1")
		return o.GetCalls() == all && len(o.GetUsers()) == 0
	})
	known := map[uint64]int{}
	s.now(func() {
		for _, report := range s.reports {
			for _, o := range report.GetOutcomes() {
				if len(o.GetUsers()) > 10_000 {
					t.Errorf("a report has %d users", len(o.GetUsers()))
				}
				for _, user := range o.GetUsers() {
					known[user]++
				}
			}
		}
	})
	if len(known) != most {
		t.Errorf("%d users are told of, want %d", len(known), most)
	}
}

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	s := &scheduler{}
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	c := outcomes.New(outcomes.Deps{Scheduler: s, GatewayID: "gw_1", Every: time.Millisecond, Log: slog.New(slog.DiscardHandler), Now: clock})
	edgetest.Background(t, c.Run)
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 2 * time.Millisecond, 3 * time.Millisecond, 1024 * time.Millisecond, 1025 * time.Millisecond, 1<<23*time.Millisecond + 1, 100 * time.Hour} {
		call := c.Begin("rol_1", "ver_1", "a")
		mu.Lock()
		now = now.Add(took)
		mu.Unlock()
		call.End(t.Context(), fine, nil)
	}
	edgetest.Until(t, "all are told", func() bool { return s.last(0, "rol_1").GetCalls() == 9 })
	want := make([]int64, 25)
	want[0], want[1], want[2], want[10], want[11], want[24] = 2, 2, 1, 1, 1, 2
	if diff := cmp.Diff(want, s.last(0, "rol_1").GetLatencyBuckets()); diff != "" {
		t.Errorf("buckets, -want +got:\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}`:                              false,
		`{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError" : true }}`:                            true,
		`{"result":{"isError":true,"content":[{"text":"a \"long\\\" }text{"}]},"id":1}`:                 true,
		`{"result":{"content":[{"isError":true}],"structuredContent":{"isError":true}},"id":"isError"}`: false,
		`{"isError":true,"result":{"text":"isError","a":[true]}}`:                                       false,
		`{"id":1,"error":{"code":-32603,"message":"no"}}`:                                               true,
		`{"id":1,"error":{"message":"code","data":{"code":-32602},"code": -32602}}`:                     false,
		`{"id":1,"error":{"code":-32601}}`:                                                              false,
		`{"id":1,"error":{"code":32601}}`:                                                               true,
		`{"id":1,"error":{"code":-32021,"message":""}}`:                                                 false,
		`{"id":1,"error":null,"result":{}}`:                                                             false,
		`{"id":1,"error":{}}`:                                                                           true,
		`{"id":"a\\","result":{"text":"\\","isError":true}}`:                                            true,
		`Bad Gateway`:                  false,
		``:                             false,
		`}}]{"result":{"isError":true`: false,
	}
	for text, want := range tests {
		for at := range len(text) + 1 {
			if got := outcomes.Failed([]byte(text[:at]), []byte(text[at:])); got != want {
				t.Errorf("in two parts, from byte %d on, %s failed: %v, want %v", at, text, got, want)
				break
			}
		}
	}
}

// Whatever is said, and in whichever parts, reading it ends and says the same; of JSON it
// says what a reader of the whole would.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"result":{"isError":true}}`), 5)
	f.Add([]byte(`{"error":{"code":-32602}}`), 14)
	f.Add([]byte(`]]]}"\\`), 2)
	f.Add([]byte(`{"error":{"code":"-32602","data":[{"code":-32602}]},"result":[{"isError":true}]}`), 30)
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		at = min(max(at, 0), len(text))
		whole, parts := outcomes.Failed(text), outcomes.Failed(text[:at], text[at:])
		if whole != parts {
			t.Errorf("%q: whole %v, in parts %v", text, whole, parts)
		}
		if want, known := failed(text); known && whole != want {
			t.Errorf("%q: failed %v, want %v", text, whole, want)
		}
	})
}

// failed says what a response says of its call. It is not known of what is no JSON object,
// or has a name twice or written with escapes, or a code that is none.
func failed(text []byte) (failed, known bool) {
	response, known := members(text)
	if fault, has := response["error"]; has && string(fault) != "null" {
		said, object := members(fault)
		if fault[0] == '{' && !object {
			return false, false
		}
		code, err := strconv.Atoi(string(said["code"]))
		if known = known && (err == nil || len(said["code"]) == 0) && max(code, -code) < 1<<20; !slices.Contains(callersFaults, code) {
			return true, known
		}
	}
	result, has := response["result"]
	said, object := members(result)
	return string(said["isError"]) == "true", known && (!has || object || result[0] != '{')
}

var callersFaults = []int{-32600, -32601, -32602, -32020, -32021, -32022}

// members are those of a JSON object; ok is false for anything else, and when names are
// not what they look like.
func members(text []byte) (all map[string]json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	if !json.Valid(text) || bytes.Contains(text, []byte(`\`)) {
		return nil, false
	}
	if first, _ := d.Token(); first != json.Delim('{') {
		return nil, false
	}
	for all = map[string]json.RawMessage{}; d.More(); {
		var value json.RawMessage
		name, _ := d.Token()
		if d.Decode(&value) != nil {
			return nil, false
		}
		if _, twice := all[name.(string)]; twice {
			return nil, false
		}
		all[name.(string)] = value
	}
	return all, true
}
