package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const untilLimit = 90 * time.Second

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	return map[string]command{"until": until, "capture": capture}
}

// until runs a program again and again until its output matches: until REGEXP PROGRAM ARGS…
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARGS...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(untilLimit)
	for {
		cmd := exec.Command(args[1], args[2:]...)
		if found, err := exec.LookPath(args[1]); err == nil {
			cmd = exec.Command(found, args[2:]...)
		}
		cmd.Dir, cmd.Env = ts.MkAbs("."), environ(ts)
		if path := lookIn(ts.Getenv("PATH"), args[1]); path != "" {
			cmd.Path, cmd.Err = path, nil
		}
		out, _ := cmd.CombinedOutput()
		if want.Match(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never matched %q; it said last:\n%s", strings.Join(args[1:], " "), args[0], out)
		}
	}
}

// capture sets a variable to what a regular expression's group finds in the last
// standard output: capture NAME REGEXP
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("no match of %q", args[1])
	}
	ts.Setenv(args[0], throughFront(ts, found[1]))
}

// frontKey is where a script's cloud has its front.
type frontKey struct{}

// throughFront makes an app's address the one before its replicas, where there are some.
func throughFront(ts *testscript.TestScript, captured string) string {
	front, _ := ts.Value(frontKey{}).(*front)
	if front == nil || !strings.HasPrefix(captured, "http://"+firstReplica+":") {
		return captured
	}
	return front.before(captured)
}
