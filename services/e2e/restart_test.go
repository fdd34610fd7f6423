package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// backLimit is how long an app may be away after the whole cloud has come back.
const backLimit = 20 * time.Second

// TestRestart stops a cloud, as a person does and as a power cut does: on the same
// data it goes on where it was, soon. What no version needs is deleted on the way.
func TestRestart(t *testing.T) {
	t.Parallel()
	v := newVictim(t, findTools(t), "--set", "scheduler.deploy.garbage=1s", "--set", "scheduler.deploy.keep_versions=1", "--set", "scheduler.deploy.keep_warm=0s",
		"--set", "builder.engine.deadline=75s", "--set", "builder.grace=75s")
	for name, end := range map[string]func(){
		"stopped": func() { v.cloud.stop(v.t) },
		"killed": func() {
			v.cloud.kill()
			<-v.cloud.done
			eventually(v.t, 10*time.Second, v.cloud.orphans)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			v.through(name, func() {
				end()
				began := time.Now()
				v.cloud.start(t)
				up := time.Since(began)
				eventually(t, backLimit, func() error { return v.says("version", "1") })
				t.Logf("up after %s, the app answers after %s", up.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			})
			v.whole()
		})
	}
	v.t = t
	v.deploy(nil)
	eventually(t, 3*time.Minute, v.onlyOneBundle)
	v.whole()
	v.cloud.stop(t)
	v.cloud.searchSecrets(t)
}

// onlyOneBundle fails while more is kept than the version that serves needs.
func (v *victim) onlyOneBundle() error {
	kept, err := filepath.Glob(filepath.Join(v.cloud.data, "builder", "bundles", "*", "*"))
	if err == nil && len(kept) != 1 {
		return fmt.Errorf("%d bundles are kept", len(kept))
	}
	return err
}
