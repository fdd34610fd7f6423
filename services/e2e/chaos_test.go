package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// A blow is one kill at one moment.
type blow struct {
	// in says whether a deploy or a run is under way.
	in string
	// target is a room, "server", "worker", "temporald" or "cloud" (all of it).
	target string
	// after the beginning; with failpoint, the scheduler dies by itself there.
	after     time.Duration
	failpoint string
}

func (b blow) String() string {
	if b.failpoint != "" {
		return b.in + "/scheduler at " + b.failpoint
	}
	return fmt.Sprintf("%s/%s after %s", b.in, b.target, b.after)
}

const chaosSeed = 20261124

// blows are the points, the same for the same seed.
func blows() []blow {
	random := rand.New(rand.NewPCG(chaosSeed, 0)) //nolint:gosec // repeatable, not secret
	moment := func(most time.Duration) time.Duration {
		return time.Duration(random.Int64N(int64(most))).Round(time.Millisecond)
	}
	var all []blow
	for _, point := range []string{"build-done", "launched", "healthy", "switched", "old-drained"} {
		all = append(all, blow{in: "deploy", target: "scheduler", failpoint: point})
	}
	rooms := []string{"gateway", "registry", "scheduler", "builder", "secretsbroker", "telemetry"}
	for _, target := range append(rooms, "server", "worker", "cloud") {
		all = append(all, blow{in: "deploy", target: target, after: 2*time.Second + moment(8*time.Second)})
	}
	for _, target := range append(rooms, "server", "worker", "temporald", "cloud") {
		all = append(all, blow{in: "run", target: target, after: moment(3 * time.Second)})
	}
	return all
}

// TestChaos kills one process after another and looks whether anything was lost.
func TestChaos(t *testing.T) {
	if os.Getenv("AGENTCLOUD_CHAOS") == "" {
		t.Skip("`make chaos` runs this")
	}
	// What was live before ends at once, so that the end is one of the points.
	v := newVictim(t, findTools(t), "--processes", "--set", "scheduler.deploy.keep_warm=0s")
	for i, b := range blows() {
		if !t.Run(fmt.Sprintf("%02d %s", i, b), func(t *testing.T) {
			v.t = t
			v.suffer(b)
		}) {
			break // what comes after a loss proves nothing
		}
	}
	v.t = t
	v.cloud.stop(t)
	v.cloud.searchSecrets(t)
}
