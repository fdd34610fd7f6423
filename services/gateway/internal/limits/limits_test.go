package limits_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
)

// start runs a limiter on the server until stop or the test's end.
func start(t testing.TB, server *bustest.Server, policies ...limits.Policy) (l *limits.Limiter, stop func()) {
	t.Helper()
	l = limits.New(limits.Deps{
		Log: grpctest.Logger(t), NATS: server.Bus(t).Conn(), Now: time.Now, Defaults: policies, Beat: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return l, stop
}

func replicas(t testing.TB, want int, all ...*limits.Limiter) {
	t.Helper()
	for _, l := range all {
		edgetest.Until(t, "the replicas know each other", func() bool {
			n, known := l.Replicas()
			return known && n == want
		})
	}
}

// flood calls from many workers for a while and counts what is admitted.
func flood(workers int, during time.Duration, call limits.Call, all ...*limits.Limiter) int64 {
	var admitted atomic.Int64
	var wait sync.WaitGroup
	end := time.Now().Add(during)
	for i := range workers {
		wait.Go(func() {
			for l := all[i%len(all)]; time.Now().Before(end); {
				done, err := l.Admit(call)
				if err == nil {
					admitted.Add(1)
					done()
					continue
				}
				time.Sleep(min(limits.RetryAfter(err), 5*time.Millisecond))
			}
		})
	}
	wait.Wait()
	return admitted.Load()
}

func within(t *testing.T, got int64, rate, burst float64, took time.Duration) {
	t.Helper()
	most := rate*took.Seconds() + burst
	if float64(got) > most || float64(got) < (most-burst)/2 {
		t.Errorf("%d calls were admitted in %s, want at most %.1f and not much less", got, took, most)
	}
}

func TestReplicasStayWithinTheLimit(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	policy := limits.Policy{ID: "lim", CallsPerSecond: 200, Burst: 40}
	one, _ := start(t, server, policy)
	replicas(t, 1, one)
	two, stop := start(t, server, policy)
	replicas(t, 2, one, two)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"both there", func() {}},
		{"NATS away", server.Kill},
		{"NATS back", func() { server.Restart(t) }},
	} {
		begin := time.Now()
		step.do()
		call := limits.Call{OrgID: "org_1", CallerID: step.name}
		got := flood(64, time.Second, call, one, two)
		t.Log(step.name, got)
		within(t, got, 200, 40, time.Since(begin))
		if n, _ := one.Replicas(); n != 2 {
			t.Errorf("%s: %d replicas share the limit, want 2", step.name, n)
		}
	}
	stop()
	replicas(t, 1, one)
}

// A replica that ends without a word is gone after a while, and its share returns.
func TestAReplicaThatDies(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	one, _ := start(t, server)
	conn := server.Bus(t).Conn()
	dead := limits.New(limits.Deps{Log: grpctest.Logger(t), NATS: conn, Now: time.Now, Beat: 20 * time.Millisecond})
	edgetest.Background(t, dead.Run)
	replicas(t, 2, one, dead)
	conn.Close()
	replicas(t, 1, one)
	if n, _ := dead.Replicas(); n != 2 {
		t.Errorf("one that is cut off takes %d for the number of replicas, want the last it knew", n)
	}
}

func TestNeverWithoutLimitBeforeNATSIsReached(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	conn := server.Bus(t).Conn()
	server.Kill()
	l := limits.New(limits.Deps{
		Log: grpctest.Logger(t), NATS: conn, Now: time.Now,
		Defaults: []limits.Policy{{ID: "lim", CallsPerSecond: 100, Burst: 8, Concurrent: 8}},
	})
	begin := time.Now()
	got := flood(16, 500*time.Millisecond, limits.Call{OrgID: "o"}, l)
	if most := 25*time.Since(begin).Seconds() + 2; float64(got) > most {
		t.Errorf("%d calls without NATS, want at most %.1f", got, most)
	}
}

func TestOneTenantsFlood(t *testing.T) {
	t.Parallel()
	l, _ := start(t, bustest.Start(t), limits.Policy{ID: "lim", CallsPerSecond: 1, Burst: 3})
	replicas(t, 1, l)
	for range 1000 {
		_, _ = l.Admit(limits.Call{OrgID: "org_1", CallerID: "u"})
	}
	for range 3 {
		if _, err := l.Admit(limits.Call{OrgID: "org_2", CallerID: "u"}); err != nil {
			t.Errorf("another tenant's call = %v", err)
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	l, _ := start(t, bustest.Start(t))
	replicas(t, 1, l)
	tests := map[string]struct {
		policy  limits.Policy
		refused limits.Call // the second call; the first is of u on app_a with tool dig
		want    bool
	}{
		"each caller, the same":    {limits.Policy{}, limits.Call{CallerID: "u", TargetID: "app_a"}, true},
		"each caller, another":     {limits.Policy{}, limits.Call{CallerID: "v", TargetID: "app_a"}, false},
		"together, another":        {limits.Policy{Caller: limits.Together}, limits.Call{CallerID: "v"}, true},
		"one app, another":         {limits.Policy{TargetID: "app_a"}, limits.Call{CallerID: "u", TargetID: "app_b"}, false},
		"all apps, another":        {limits.Policy{}, limits.Call{CallerID: "u", TargetID: "app_b"}, true},
		"one tool, another":        {limits.Policy{Tool: "dig"}, limits.Call{CallerID: "u", Tool: "add"}, false},
		"one tool, the same":       {limits.Policy{Tool: "dig"}, limits.Call{CallerID: "u", Tool: "dig"}, true},
		"one tool, by another":     {limits.Policy{Tool: "dig"}, limits.Call{CallerID: "u", Tool: "workflows-run", As: "dig"}, true},
		"all tools, by another":    {limits.Policy{}, limits.Call{CallerID: "u", Tool: "workflows-run", As: "dig"}, true},
		"the other, by another":    {limits.Policy{Tool: "workflows-run"}, limits.Call{CallerID: "u", Tool: "workflows-run", As: "add"}, false},
		"another caller, the same": {limits.Policy{Caller: "v"}, limits.Call{CallerID: "u"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.policy.ID, tt.policy.OrgID, tt.policy.CallsPerSecond, tt.policy.Burst = name, "org_1", 0.5, 1
			l.Set([]limits.Policy{tt.policy})
			if _, err := l.Admit(limits.Call{OrgID: "org_1", CallerID: "u", TargetID: "app_a", Tool: "dig"}); err != nil {
				t.Fatal(err)
			}
			tt.refused.OrgID = "org_1"
			_, err := l.Admit(tt.refused)
			if fault.Exhausted.Is(err) != tt.want {
				t.Fatalf("Admit(%+v) = %v, want refused %t", tt.refused, err, tt.want)
			}
			if retry := limits.RetryAfter(err); tt.want && (retry <= time.Second || retry > 2*time.Second || limits.Which(err) != name) {
				t.Errorf("refused by %q for %s", limits.Which(err), retry)
			}
		})
	}
}

func TestRetryAfterIsTrue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := limits.New(limits.Deps{Now: func() time.Time { return now }, Defaults: []limits.Policy{{ID: "lim", CallsPerSecond: 3, Burst: 4}}})
	for range 20 {
		_, err := l.Admit(limits.Call{OrgID: "o"})
		if err == nil {
			continue
		}
		now = now.Add(limits.RetryAfter(err) + time.Microsecond)
		if _, err := l.Admit(limits.Call{OrgID: "o"}); err != nil {
			t.Fatalf("after the time that was told: %v", err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	l, _ := start(t, bustest.Start(t), limits.Policy{ID: "lim", Concurrent: 2})
	replicas(t, 1, l)
	call := limits.Call{OrgID: "o", CallerID: "u"}
	done, _ := l.Admit(call)
	if _, err := l.Admit(call); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Admit(call); !fault.Exhausted.Is(err) || limits.RetryAfter(err) == 0 {
		t.Fatalf("a third call = %v", err)
	}
	done()
	done() // twice is harmless
	if _, err := l.Admit(call); err != nil {
		t.Fatalf("after one has ended: %v", err)
	}
	if _, err := l.Admit(call); err == nil {
		t.Fatal("a call that is done twice makes room for two")
	}
}

// users are limits for each of many users of an organisation.
func users(n int) []limits.Policy {
	all := make([]limits.Policy, n)
	for i := range all {
		all[i] = limits.Policy{ID: fmt.Sprint(i), OrgID: "o", Caller: fmt.Sprintf("u_0198c0de-0000-7000-8000-%012d", i), CallsPerSecond: 1e9}
	}
	all[n-1].Caller = "u"
	return all
}

func BenchmarkAdmit(b *testing.B) {
	for name, policies := range map[string][]limits.Policy{
		"no policy":                      nil,
		"one rate":                       {{ID: "a", CallsPerSecond: 1e9}},
		"four rates":                     {{ID: "a", CallsPerSecond: 1e9}, {ID: "b", CallsPerSecond: 1e9, Caller: limits.Together}, {ID: "c", CallsPerSecond: 1e9, Tool: "t"}, {ID: "d", CallsPerSecond: 1e9, TargetID: "app"}},
		"concurrent":                     {{ID: "a", Concurrent: 1e6}},
		"a limit for each of 1000 users": users(1000),
	} {
		b.Run(name, func(b *testing.B) {
			l := limits.New(limits.Deps{Now: time.Now, Defaults: policies})
			b.ReportAllocs()
			for b.Loop() {
				if done, err := l.Admit(limits.Call{OrgID: "o", TargetID: "app", CallerID: "u", Tool: "t"}); err == nil {
					done()
				}
			}
		})
	}
}
