package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	chaosToken   = "chaos-" + canary
	recoverLimit = 120 * time.Second
	deployTries  = 4
)

// victim is a cloud with one app, and what it has acknowledged.
type victim struct {
	t       *testing.T
	cloud   *cloud
	project string
	version int
	// runs are run ids and what each must end with.
	runs map[string]string
	// said are log lines that were seen.
	said []string
}

func newVictim(t *testing.T, tools tools, flags ...string) *victim {
	t.Helper()
	v := &victim{t: t, cloud: startCloud(t, tools, flags...), project: filepath.Join(shortDir(t), "chaos"), runs: map[string]string{}}
	if err := os.CopyFS(v.project, os.DirFS("testdata/chaos")); err != nil {
		t.Fatal(err)
	}
	v.deploy(nil)
	return v
}

// suffer lives through one blow and checks that nothing was lost.
func (v *victim) suffer(b blow) {
	if b.failpoint != "" {
		v.cloud.stop(v.t)
		v.cloud.extra = []string{"AGENTCLOUD_FAILPOINT=" + b.failpoint}
		v.cloud.start(v.t)
		v.answers()
	}
	switch b.in {
	case "deploy":
		v.deploy(func() { v.hit(b) })
	case "run":
		v.run(b)
	}
	v.whole()
	v.cloud.extra = nil
}

// hit kills the target when its moment has come.
func (v *victim) hit(b blow) {
	if b.failpoint != "" {
		return
	}
	time.Sleep(b.after) // the seeded moment
	if b.target == "cloud" {
		v.cloud.kill()
		<-v.cloud.done
		eventually(v.t, 10*time.Second, v.cloud.orphans)
		v.cloud.start(v.t)
		return
	}
	for _, pid := range v.cloud.processes(b.target) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// deploy brings up the next version, as often as a person would try.
func (v *victim) deploy(meanwhile func()) {
	v.version++
	v.edit()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if meanwhile != nil {
			meanwhile()
		}
	}()
	var out []byte
	var err error
	for range deployTries {
		out, err = v.program("mcp-agent", "deploy", "chaos", "--non-interactive")
		if err == nil {
			break
		}
		<-done
	}
	<-done
	if err != nil {
		v.t.Fatalf("the deploy did not work: %v\n%s", err, out)
	}
	v.answers()
}

var versionLine = regexp.MustCompile(`(?m)^VERSION = .*$`)

func (v *victim) edit() {
	file := filepath.Join(v.project, "main.py")
	raw, err := os.ReadFile(file)
	if err != nil {
		v.t.Fatal(err)
	}
	raw = versionLine.ReplaceAll(raw, []byte(fmt.Sprintf("VERSION = %d", v.version)))
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		v.t.Fatal(err)
	}
}

// run starts two runs, is hit, and resumes one.
func (v *victim) run(b blow) {
	v.through(strings.NewReplacer("/", "-", " ", "-").Replace(b.String()), func() { v.hit(b) })
}

// through starts two runs, lets something happen, resumes one, and awaits both.
func (v *victim) through(name string, happen func()) {
	steps := v.startRun("workflows-Steps-run", map[string]any{"run_parameters": map[string]any{"name": name}})
	v.runs[steps] = name + ": [1, 4, 9] go"
	sum := v.startRun("slow_sum", map[string]any{"upto": 10})
	v.runs[sum] = "55"
	happen()
	eventually(v.t, recoverLimit, func() error {
		out, err := v.call("workflows-resume", map[string]any{"run_id": steps, "payload": map[string]string{"word": "go"}})
		if err == nil && strings.TrimSpace(out) != "true" {
			return fmt.Errorf("resume says %s", out)
		}
		return err
	})
	for _, run := range []string{steps, sum} {
		eventually(v.t, recoverLimit, func() error { return v.ended(run) })
	}
	eventually(v.t, recoverLimit, func() error { return v.heard("squared for " + name) })
	v.said = append(v.said, "squared for "+name)
}

// startRun starts a run, and again only when it is certain that there is none.
func (v *victim) startRun(tool string, arguments map[string]any) string {
	out, err := v.call(tool, arguments)
	if err != nil {
		v.t.Fatalf("%s: %v", tool, err)
	}
	return runOf(v.t, out)
}

// runOf is the run that an answer says was started.
func runOf(t *testing.T, answer string) string {
	t.Helper()
	var started struct {
		RunID string `json:"run_id"`
	}
	if err := json.Unmarshal([]byte(answer), &started); err != nil || started.RunID == "" {
		t.Fatalf("no run was started: %s", answer)
	}
	return started.RunID
}

// ended fails unless the run has its result.
func (v *victim) ended(run string) error {
	out, err := v.call("workflows-get_status", map[string]any{"run_id": run})
	if err != nil {
		return err
	}
	var status struct {
		Status string `json:"status"`
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return err
	}
	if got := fmt.Sprint(status.Result.Value); status.Status != "completed" || got != v.runs[run] {
		return fmt.Errorf("run %s is %s with %q, want %q", run, status.Status, got, v.runs[run])
	}
	return nil
}

// whole checks everything that was ever acknowledged.
func (v *victim) whole() {
	v.answers()
	sum := sha256.Sum256([]byte(chaosToken))
	eventually(v.t, recoverLimit, func() error { return v.says("secret", hex.EncodeToString(sum[:])) })
	for run := range v.runs {
		eventually(v.t, recoverLimit, func() error { return v.ended(run) })
	}
	for _, line := range v.said {
		eventually(v.t, recoverLimit, func() error { return v.heard(line) })
	}
}

// answers waits until the newest version does.
func (v *victim) answers() {
	eventually(v.t, recoverLimit, func() error { return v.says("version", fmt.Sprint(v.version)) })
}

func (v *victim) says(tool, want string) error {
	out, err := v.call(tool, map[string]any{})
	if got := strings.TrimSpace(out); err == nil && got != want {
		return fmt.Errorf("%s says %q, want %q", tool, got, want)
	}
	return err
}

func (v *victim) heard(line string) error {
	out, err := v.program("mcp-agent", "cloud", "logger", "tail", "chaos", "--grep", line, "--limit", "10000")
	if err == nil && !strings.Contains(string(out), line) {
		return fmt.Errorf("the line %q is not in the logs", line)
	}
	return err
}

func (v *victim) call(tool string, arguments map[string]any) (string, error) {
	raw, err := json.Marshal(arguments)
	if err != nil {
		return "", err
	}
	out, err := v.program("agentcloud", "call", "chaos", tool, string(raw), "--timeout", "30s")
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

func (v *victim) program(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(v.cloud.tools.bin, name), args...) //nolint:gosec // our own binaries
	cmd.Dir = v.project
	cmd.Env = append(machine(),
		"HOME="+filepath.Dir(v.project), "PATH="+v.cloud.tools.bin+":"+os.Getenv("PATH"), "COLUMNS=400", "NO_COLOR=1", "TERM=dumb",
		"MCP_API_BASE_URL="+v.cloud.url+"/api", "MCP_API_KEY="+v.cloud.key, "MCP_DEPLOYMENTS_UPLOAD_API_BASE_URL="+v.cloud.url,
		"MCP_DEPLOYMENT_CACHE_DIR="+v.cloud.cache, "MCP_AGENT_DISABLE_VERSION_CHECK=1", "CHAOS_TOKEN="+chaosToken,
	)
	return cmd.CombinedOutput()
}

var serverURL = regexp.MustCompile(`Server URL: (http\S+)`)

// endpoint is where the app is called.
func (v *victim) endpoint() endpoint {
	v.t.Helper()
	out, err := v.program("mcp-agent", "cloud", "servers", "describe", "chaos")
	found := serverURL.FindSubmatch(out)
	if err != nil || found == nil {
		v.t.Fatalf("servers describe: %v\n%s", err, out)
	}
	return endpoint{name: "the cloud", url: string(found[1]) + "/mcp", key: v.cloud.key}
}
