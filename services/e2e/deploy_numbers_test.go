package e2e

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	deployBegin = "<!-- deploys, measured by make bench -->"
	redeploys   = 10
	rollbacks   = 20
	// redeployAim and rollbackAim are those of the 95th percentile.
	redeployAim = 3 * time.Second
	rollbackAim = time.Second
)

// TestDeployNumbers measures how long a change of an app's code takes until it is live,
// and how long the way back.
func TestDeployNumbers(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	v := newVictim(t, findTools(t), "--log-level", "info")
	var here struct{ App string }
	v.get(strings.TrimSuffix(v.endpoint().url, "/mcp"), &here)
	deployed, back := v.redeployTimes(here.App), v.rollbackTimes(here.App)
	report(t, []figure{
		{
			"code-only redeploy, `deploy_app` to live: p50, p95 of 10",
			fmt.Sprintf("%s, %s", seconds(percentile(deployed, 50)), seconds(percentile(deployed, 95))), "under 3 s", percentile(deployed, 95) < redeployAim,
		}, {
			"rollback, from the request to an answer of the older code: p50, p95 of 20",
			fmt.Sprintf("%s, %s", seconds(percentile(back, 50)), seconds(percentile(back, 95))), "under 1 s", percentile(back, 95) < rollbackAim,
		},
	}, deployBegin)
}

// redeployTimes changes the code again and again, and sorts how long each deploy took.
func (v *victim) redeployTimes(app string) (took []time.Duration) {
	v.t.Helper()
	for range redeploys {
		v.deploy(nil)
		var answer struct {
			Versions []struct{ CreatedAt, LiveAt time.Time }
		}
		v.get(v.cloud.url+"/api/v1/apps/"+app+"/versions", &answer)
		took = append(took, answer.Versions[0].LiveAt.Sub(answer.Versions[0].CreatedAt))
	}
	v.t.Logf("redeploys took %s", took)
	slices.Sort(took)
	return took
}

// rollbackTimes goes back and forth between the last two versions, and sorts how long the
// ways back took for a client that keeps its session.
func (v *victim) rollbackTimes(app string) (took []time.Duration) {
	v.t.Helper()
	client := &talker{endpoint: v.endpoint()}
	client.open(v.t)
	for range rollbacks {
		began := time.Now()
		v.cloud.ask(v.t, http.MethodPost, "/v1/apps/"+app+"/rollback", struct{}{}, nil)
		v.speaks(client, v.version-1)
		took = append(took, time.Since(began))
		v.cloud.ask(v.t, http.MethodPost, fmt.Sprintf("/v1/apps/%s/versions/%d/promote", app, v.version), struct{}{}, nil)
		v.speaks(client, v.version)
	}
	v.t.Logf("rollbacks took %s", took)
	slices.Sort(took)
	return took
}

// speaks waits until a session is answered by a version's code.
func (v *victim) speaks(client *talker, version int) {
	v.t.Helper()
	eventually(v.t, recoverLimit, func() error {
		said, err := client.call("version", map[string]any{})
		if err == nil && said != fmt.Sprint(version) {
			err = fmt.Errorf("version %s answers, want %d", said, version)
		}
		return err
	})
}
