package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// canaryUsers call by turns, so many at once as there are callers.
	canaryUsers     = 64
	manyCanaryUsers = 512
	canaryCallers   = 8
	// canaryPause is between two calls of all of them, for the machine is not theirs alone.
	canaryPause = 10 * time.Millisecond
	canaryLimit = 3 * time.Minute
	// canaryFile lets a deploy try its version with a fifth of the sessions, without end.
	canaryFile = "deploy: {rollout: {steps: [{weight: 20%, wait: 1h}], max_latency_ratio: 0}}\n"
)

// TestACanaryThatFailsIsAborted deploys a version of which one call of twenty fails, while
// many sessions call the app. The rollout ends by itself, the live version is not touched,
// no session is lost, and what is reported is what the clients have seen.
func TestACanaryThatFailsIsAborted(t *testing.T) {
	t.Parallel()
	users := canaryUsers
	if os.Getenv("AGENTCLOUD_CHAOS") != "" {
		users = manyCanaryUsers
	}
	v := newVictim(t, findTools(t), "--log-level", "info")
	callers := v.throng(users)
	callers.begin(t)
	if err := os.WriteFile(filepath.Join(v.project, "agentcloud.yaml"), []byte(canaryFile), 0o600); err != nil {
		t.Fatal(err)
	}
	v.version++
	v.edit()
	if out, err := v.program("mcp-agent", "deploy", "chaos", "--non-interactive"); err != nil {
		t.Fatalf("the deploy did not work: %v\n%s", err, out)
	}
	var r *schedulerv1.Rollout
	eventually(t, canaryLimit, func() (err error) {
		if r, err = v.rollout(); err == nil && !r.GetSettled() {
			err = fmt.Errorf("the rollout is %s, and %v was seen", r.GetState(), r.GetResult())
		}
		return err
	})
	callers.end(t)
	seen, n := callers.sum(), r.GetResult()
	t.Logf("the rollout took %s: %s; %d of %d users (%.1f %%) saw an error, %d of %d calls of the version failed",
		r.GetEndTime().AsTime().Sub(r.GetStartTime().AsTime()).Round(time.Millisecond), r.GetReason(), n.GetFailedUsers(), n.GetUsers(),
		100*float64(n.GetFailedUsers())/float64(n.GetUsers()), n.GetCanary().GetFailures(), n.GetCanary().GetCalls())
	if r.GetState() != schedulerv1.RolloutState_ROLLOUT_STATE_ABORTED || !strings.Contains(r.GetReason(), "of its calls failed") {
		t.Errorf("the rollout is %s: %s", r.GetState(), r.GetReason())
	}
	got := tally{users: n.GetUsers(), canary: n.GetCanaryUsers(), failed: n.GetFailedUsers(), failures: n.GetCanary().GetFailures()}
	if got != seen {
		t.Errorf("reported are %+v, seen were %+v", got, seen)
	}
	for _, user := range callers.users { // each session is still there, at the live version
		if said, err := user.send(toolCall("flaky", map[string]any{})); err != nil || !bytes.Contains(said, saysOne) {
			t.Errorf("a session after the rollout: %s, %v", said, err)
		}
	}
	if out, err := v.program("agentcloud", "versions", "list", "chaos"); err != nil || !untouched.Match(out) {
		t.Errorf("versions list: %v\n%s", err, out)
	}
	v.cloud.stop(t)
}

// untouched is a list of versions of which the first one is still live.
var untouched = regexp.MustCompile(`(?m)^2 +retired.*\n1 +live`)

// rollout is the app's newest one.
func (v *victim) rollout() (*schedulerv1.Rollout, error) {
	out, err := v.program("agentcloud", "rollouts", "describe", "chaos", "--output", "json")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var res registryv1.GetRolloutResponse
	err = protojson.Unmarshal(out, &res)
	return res.GetRollout(), err
}

// saysOne is in what the first version answers.
var saysOne = []byte(`"text":"1"`)

// tally is what clients, or gateways, have seen of a rollout.
type tally struct{ users, canary, failed, failures int64 }

// canaryUser is one session, and what it has seen.
type canaryUser struct {
	*caller
	saw    bool
	errors int64
}

// throng are sessions that call an app.
type throng struct {
	users []*canaryUser
	stop  chan struct{}
	halt  sync.Once
	calls atomic.Int64
	group sync.WaitGroup
	mu    sync.Mutex
	lost  []error
}

func (v *victim) throng(users int) *throng {
	v.t.Helper()
	c, e := &throng{stop: make(chan struct{})}, v.endpoint()
	for range users {
		c.users = append(c.users, &canaryUser{caller: e.open(v.t)})
	}
	return c
}

// begin has the sessions call by turns until the end, of the test at the latest.
func (c *throng) begin(t *testing.T) {
	t.Helper()
	t.Cleanup(c.stand)
	pause := time.NewTicker(canaryPause)
	t.Cleanup(pause.Stop)
	for i := range canaryCallers {
		c.group.Go(func() {
			for turn := i; ; turn += canaryCallers {
				select {
				case <-c.stop:
					return
				case <-pause.C:
				}
				c.turn(c.users[turn%len(c.users)])
			}
		})
	}
}

// turn is one call of one session.
func (c *throng) turn(user *canaryUser) {
	said, err := user.send(toolCall("flaky", map[string]any{}))
	c.calls.Add(1)
	switch {
	case bytes.Contains(said, []byte("version 2 fails")):
		user.saw, user.errors = true, user.errors+1
	case bytes.Contains(said, []byte(`"text":"2"`)):
		user.saw = true
	case !bytes.Contains(said, saysOne):
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lost = append(c.lost, fmt.Errorf("%s, %w", said, err))
	}
}

// stand has nobody call any more.
func (c *throng) stand() {
	c.halt.Do(func() { close(c.stop) })
	c.group.Wait()
}

func (c *throng) end(t *testing.T) {
	t.Helper()
	c.stand()
	t.Logf("%d calls", c.calls.Load())
	for _, err := range c.lost[:min(len(c.lost), 10)] {
		t.Errorf("one of %d calls that were lost: %v", len(c.lost), err)
	}
}

// sum is what all of them have seen.
func (c *throng) sum() tally {
	all := tally{users: int64(len(c.users))}
	for _, user := range c.users {
		if user.saw {
			all.canary++
		}
		if user.errors > 0 {
			all.failed++
		}
		all.failures += user.errors
	}
	return all
}
