package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestQuestionSurvives lets two questions wait while every process of cloud and agent is
// killed once. Then one is answered in the session that was there before, the other by a
// person with a browser.
func TestQuestionSurvives(t *testing.T) {
	t.Parallel()
	tools := findTools(t)
	browser := findBrowser(t)
	v := &victim{t: t, cloud: startCloud(t, tools, "--processes"), project: filepath.Join(shortDir(t), "chaos"), runs: map[string]string{}}
	if err := os.CopyFS(v.project, os.DirFS(filepath.Join(tools.examples, "approval"))); err != nil {
		t.Fatal(err)
	}
	if out, err := v.program("mcp-agent", "deploy", "chaos", "--non-interactive"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	client := &talker{endpoint: v.endpoint()}
	client.open(t)
	runs := map[string]string{}
	for _, title := range []string{"By session", "By link"} {
		said, err := client.call("workflows-Publish-run", map[string]any{"run_parameters": map[string]string{"title": title}})
		if err != nil {
			t.Fatal(err)
		}
		runs[title] = runOf(t, said)
	}
	eventually(t, recoverLimit, func() error { return v.open(2) })
	for _, target := range []string{"gateway", "registry", "scheduler", "builder", "secretsbroker", "telemetry", "temporald", "server", "worker", "cloud"} {
		v.killed(target, func() error {
			if err := v.open(2); err != nil {
				return err
			}
			said, err := client.call("workflows-get_status", map[string]string{"run_id": runs["By link"]})
			if err == nil && !strings.Contains(said, `"running"`) {
				err = fmt.Errorf("the run is %s", said)
			}
			return err
		})
	}
	v.answeredBySession(client, runs["By session"])
	v.answeredByBrowser(client, browser, runs["By link"])
}

// killed kills a process, and waits until there is another and all is well.
func (v *victim) killed(target string, well func() error) {
	v.t.Helper()
	if target == "cloud" {
		v.cloud.kill()
		<-v.cloud.done
		v.cloud.start(v.t)
	} else {
		// An agent's process ends with the scheduler's and may be on its way back.
		var before []int
		eventually(v.t, recoverLimit, func() error {
			if before = v.cloud.processes(target); len(before) == 0 {
				return fmt.Errorf("there is no process %s", target)
			}
			return nil
		})
		for _, pid := range before {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				v.t.Fatal(err)
			}
		}
		eventually(v.t, recoverLimit, func() error {
			now := v.cloud.processes(target)
			if len(now) == 0 || now[0] == before[0] {
				return fmt.Errorf("%s is not back", target)
			}
			return nil
		})
	}
	eventually(v.t, recoverLimit, well)
	v.t.Logf("%s was killed", target)
}

// open fails unless so many questions wait.
func (v *victim) open(want int) error {
	out, err := v.program("agentcloud", "approvals", "list")
	if got := strings.Count(string(out), "qst_"); err == nil && got != want {
		return fmt.Errorf("%d questions wait:\n%s", got, out)
	}
	return err
}

// answeredBySession answers in the session that has been there all the time.
func (v *victim) answeredBySession(client *talker, run string) {
	v.t.Helper()
	id, err := client.asked("By session")
	if err != nil {
		v.t.Fatal(err)
	}
	if err := client.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"action":"accept","content":{"approved":true,"comment":"in time"}}}`, id)); err != nil {
		v.t.Fatal(err)
	}
	eventually(v.t, recoverLimit, func() error { return client.ended(run, "is published: in time") })
}

// answeredByBrowser answers on the page of a link, with the keyboard alone.
func (v *victim) answeredByBrowser(client *talker, browser, run string) {
	v.t.Helper()
	if err := v.open(1); err != nil {
		v.t.Fatal(err)
	}
	out, _ := v.program("agentcloud", "approvals", "list")
	question := strings.Fields(string(out[strings.Index(string(out), "qst_"):]))[0]
	out, err := v.program("agentcloud", "approvals", "link", question)
	if err != nil {
		v.t.Fatalf("%v\n%s", err, out)
	}
	link := string(out[strings.Index(string(out), "http"):])
	page := visit(v.t, browser, strings.Fields(link)[0])
	page.isAccessible()
	page.keys("\t", " ", "\t", "by hand", "\t", "\r")
	page.says("Thank you")
	eventually(v.t, recoverLimit, func() error { return client.ended(run, "is published: by hand") })
	page.again()
	page.says("answered")
}

// ended fails unless a run has completed with a text.
func (c *talker) ended(run, want string) error {
	said, err := c.call("workflows-get_status", map[string]string{"run_id": run})
	if err == nil && (!strings.Contains(said, `"completed"`) || !strings.Contains(said, want)) {
		err = fmt.Errorf("the run is %s", said)
	}
	return err
}
