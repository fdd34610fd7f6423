package failpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHitKillsOnceAtTheNamedStep(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Variable, Healthy)
	var exits []int
	points := New(dir)
	points.exit = func(code int) { exits = append(exits, code) }
	points.Hit(Launched)
	points.Hit(Healthy)
	points.Hit(Healthy)

	next := New(dir)
	next.exit = points.exit
	next.Hit(Healthy)
	if diff := cmp.Diff([]int{ExitCode}, exits); diff != "" {
		t.Errorf("exits (-want +got):\n%s", diff)
	}
}

func TestNoFailpointWithoutTheVariable(t *testing.T) {
	t.Setenv(Variable, "")
	points := New(t.TempDir())
	points.exit = func(int) { t.Error("exit without a failpoint") }
	points.Hit(Healthy)
	var none *Points
	none.Hit(Healthy)
}
