package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	numbersPage  = "../../docs/numbers.md"
	numbersBegin = "<!-- measured by make bench -->"
	gatewayBegin = "<!-- the gateway, measured by make bench -->"
	numbersEnd   = "<!-- end -->"
	starts       = 3
)

// a figure is one line of the page: what was seen beside what was wanted.
type figure struct {
	what, seen, aim string
	met             bool
}

// TestNumbers measures what docs/numbers.md says, each ratio side by side in one run.
// With AGENTCLOUD_BENCH=write it writes the page.
func TestNumbers(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	tools := findTools(t)
	v := newVictim(t, tools, "--log-level", "info")
	all := v.secondDeploy()
	all = append(all, v.warmStart()...)
	all = append(all, v.againstThePython(tools)...)
	all = append(all, v.againstABareProxy()...)
	report(t, all, numbersBegin)
}

// report fails for each figure that is not as it should be, and writes them into the page
// below a mark when that is asked for.
func report(t *testing.T, all []figure, below string) {
	t.Helper()
	table := &strings.Builder{}
	table.WriteString("| what | measured | aim | |\n|---|---|---|---|\n")
	for _, f := range all {
		mark := "met"
		if !f.met {
			mark = "**not met**"
			t.Errorf("%s: %s, the aim is %s", f.what, f.seen, f.aim)
		}
		fmt.Fprintf(table, "| %s | %s | %s | %s |\n", f.what, f.seen, f.aim, mark)
	}
	t.Log("\n" + table.String())
	if os.Getenv("AGENTCLOUD_BENCH") == "write" {
		writeNumbers(t, below, table.String())
	}
}

func writeNumbers(t *testing.T, below, table string) {
	t.Helper()
	page, err := os.ReadFile(numbersPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), below+"\n")
	_, after, ended := strings.Cut(rest, numbersEnd)
	if !begun || !ended {
		t.Fatalf("docs/numbers.md has no place for the figures")
	}
	if err := os.WriteFile(numbersPage, []byte(before+below+"\n"+table+numbersEnd+after), 0o644); err != nil { //nolint:gosec // a page
		t.Fatal(err)
	}
}

// secondDeploy deploys again with the same packages and reads where the time went.
func (v *victim) secondDeploy() []figure {
	v.deploy(nil)
	var here struct{ App string }
	v.get(strings.TrimSuffix(v.endpoint().url, "/mcp"), &here)
	var answer struct {
		Versions []struct {
			VersionID         string `json:"versionId"`
			CreatedAt, LiveAt time.Time
		}
	}
	v.get(v.cloud.url+"/api/v1/apps/"+here.App+"/versions", &answer)
	if len(answer.Versions) < 2 {
		v.t.Fatalf("versions = %+v", answer)
	}
	newest := answer.Versions[0]
	whole := newest.LiveAt.Sub(newest.CreatedAt)
	python := v.stepTook(newest.VersionID, "start of the agent")
	ours := whole - python
	return []figure{
		{"second deploy, same lock: `deploy_app` to live", seconds(whole), "under 8 s", whole < 8*time.Second},
		{"of it the cloud's own part, without Python's start", seconds(ours), "under 1 s", ours < time.Second},
	}
}

func (v *victim) get(url string, answer any) {
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+v.cloud.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil || res.StatusCode != http.StatusOK {
		v.t.Fatalf("GET %s: %s, %v", url, res.Status, err)
	}
}

// stepTook reads the scheduler's log.
func (v *victim) stepTook(versionID, step string) time.Duration {
	logs, err := filepath.Glob(filepath.Join(v.cloud.data, "logs", "*"))
	if err != nil || len(logs) == 0 {
		v.t.Fatalf("no logs: %v", err)
	}
	var found time.Duration
	for _, file := range logs {
		raw, err := os.ReadFile(file)
		if err != nil {
			v.t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			var line struct {
				Step, Version string
				Took          time.Duration
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Version == versionID && line.Step == step {
				found += line.Took
			}
		}
	}
	if found == 0 {
		v.t.Fatalf("the log does not say how long %q took", step)
	}
	return found
}

// warmStart stops and starts the cloud on what it has.
func (v *victim) warmStart() []figure {
	var took []time.Duration
	for range starts {
		v.cloud.stop(v.t)
		began := time.Now()
		v.cloud.start(v.t)
		took = append(took, time.Since(began))
	}
	v.answers()
	slices.Sort(took)
	start := took[len(took)/2]
	memory := v.cloud.memoryMB(v.t)
	return []figure{
		{"`agentcloud up`, warm start to ready", seconds(start), "under 5 s", start < 5*time.Second},
		{"memory of the idle cloud (proportional set size of agentcloud and temporald)", fmt.Sprintf("%d MB", memory), "under 400 MB", memory < 400},
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

var pss = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// memoryMB is the cloud's own, without its agents'.
func (c *cloud) memoryMB(t *testing.T) int {
	t.Helper()
	total := 0
	for _, pid := range append(c.processes("agentcloud"), c.processes("temporald")...) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		if found := pss.FindSubmatch(raw); found != nil {
			kb, _ := strconv.Atoi(string(found[1]))
			total += kb
		}
	}
	if total == 0 {
		t.Fatal("the cloud's processes were not found")
	}
	return total >> 10
}

// againstThePython calls the workflow tools here, where they are answered natively, and
// at the framework's own server of the same app.
func (v *victim) againstThePython(tools tools) []figure {
	ours, stock := v.endpoint(), startStock(v.t, tools, v.project)
	list := toolCall("workflows-list", map[string]any{})
	lists := compare(v.t, map[string][]byte{ours.name: list, stock.name: list}, ours, stock)
	statuses := compare(v.t, map[string][]byte{ours.name: statusOf(v.t, ours), stock.name: statusOf(v.t, stock)}, ours, stock)
	return slices.Concat(
		beside("`workflows-list`", lists[ours.name], lists[stock.name], 50, 2*time.Millisecond),
		beside("`workflows-get_status`", statuses[ours.name], statuses[stock.name], 10, 5*time.Millisecond),
	)
}

func beside(what string, ours, stock figures, times float64, most time.Duration) []figure {
	ratio := ours.rate / stock.rate
	return []figure{
		{
			what + ", 16 sessions at once, against the framework's own server",
			fmt.Sprintf("%.0f/s to %.0f/s: × %.1f", ours.rate, stock.rate, ratio), fmt.Sprintf("× %.0f", times), ratio >= times,
		},
		{
			what + ", one session, p50", fmt.Sprintf("%.2f ms (framework: %.2f ms)", ms(ours.p50), ms(stock.p50)),
			fmt.Sprintf("under %.0f ms", ms(most)), ours.p50 < most,
		},
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// statusOf starts a run that waits, and asks for its status.
func statusOf(t *testing.T, e endpoint) []byte {
	t.Helper()
	raw, err := e.open(t).send(toolCall("workflows-Steps-run", map[string]any{"run_parameters": map[string]any{"name": "number"}}))
	found := regexp.MustCompile(`run_id\W+([0-9a-f-]{36})`).FindSubmatch(raw)
	if err != nil || found == nil {
		t.Fatalf("%s: start a run: %v: %s", e.name, err, raw)
	}
	return toolCall("workflows-get_status", map[string]any{"run_id": string(found[1])})
}

// againstABareProxy calls a tool of the agent's through the gateway and through a Go
// reverse proxy that does nothing.
func (v *victim) againstABareProxy() []figure {
	ours, bare := v.endpoint(), startBeside(v.t, roleBare, "a bare Go reverse proxy", v.cloud.agentURL(v.t))
	body := toolCall("version", map[string]any{})
	seen := compare(v.t, map[string][]byte{ours.name: body, bare.name: body}, ours, bare)
	ratio := float64(seen[ours.name].p50) / float64(seen[bare.name].p50)
	return []figure{{
		"a tool of the agent's, p50 through the gateway against a bare Go reverse proxy",
		fmt.Sprintf("%.2f ms to %.2f ms: × %.2f", ms(seen[ours.name].p50), ms(seen[bare.name].p50), ratio), "at most × 1.5", ratio <= 1.5,
	}}
}
