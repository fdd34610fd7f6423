package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestParkedCallSurvives lets calls of a deployed server's own code ask a client of the
// stateless era, and kills the gateway while they wait and while they are answered. The
// server is called once for each, and its results arrive.
func TestParkedCallSurvives(t *testing.T) {
	t.Parallel()
	tools := findTools(t)
	v := &victim{t: t, cloud: startCloud(t, tools, "--processes"), project: filepath.Join(shortDir(t), "chaos"), runs: map[string]string{}}
	if err := os.CopyFS(v.project, os.DirFS("testdata/parked")); err != nil {
		t.Fatal(err)
	}
	if out, err := v.program("mcp-agent", "deploy", "chaos", "--non-interactive"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	one, two := &parked{endpoint: v.endpoint(), arguments: `{"what":"one"}`}, &parked{endpoint: v.endpoint(), arguments: `{"what":"two","pause":3}`}
	for _, call := range []*parked{one, two} {
		if said, err := call.send(talkLimit); err != nil || !call.asked(said) {
			t.Fatalf("the call is not parked: %v\n%s", err, said)
		}
	}
	v.killed("gateway", func() error { return answersHTTP(one.url) })
	one.ends(t, "one: True in call 1")
	cut, works := make(chan error, 1), make(chan struct{}, 1)
	go func() { // the client whose answer is cut off by the next death
		_, err := two.sendTelling(talkLimit, works)
		cut <- err
	}()
	select {
	case <-works:
	case err := <-cut:
		t.Fatalf("the answered call ended before it was cut off: %v", err)
	}
	for _, pid := range v.cloud.processes("gateway") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-cut; err == nil {
		t.Error("the gateway was not killed in the call")
	}
	began := time.Now()
	two.ends(t, "two: True in call 2")
	t.Logf("the result was there %s after the gateway's death", time.Since(began).Round(time.Millisecond))
	two.ends(t, "two: True in call 2")
}

// answersHTTP fails unless something answers there.
func answersHTTP(url string) error {
	res, err := http.Get(url) //nolint:noctx,gosec // the test's own address
	if err == nil {
		err = res.Body.Close()
	}
	return err
}

// parked is a call of a client of the stateless era, and what it brings back.
type parked struct {
	endpoint
	arguments, more string
}

// send makes the call, or makes it again, and returns the response.
func (c *parked) send(limit time.Duration) (string, error) {
	return c.sendTelling(limit, make(chan struct{}, 1))
}

// sendTelling tells when the server says that it works.
func (c *parked) sendTelling(limit time.Duration, works chan<- struct{}) (said string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":` + c.arguments + c.more +
		`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"progressToken":1}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + c.key, "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "ask",
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "notifications/progress") {
			select {
			case works <- struct{}{}:
			default: // it was told
			}
			continue
		}
		said += lines.Text() + "\n"
	}
	if err := lines.Err(); err != nil || !strings.Contains(said, `"result"`) {
		return said, errors.Join(fmt.Errorf("%s without a result: %s", res.Status, said), err)
	}
	return said, nil
}

// asked notes what the call has to bring back; false when it asks nothing.
func (c *parked) asked(said string) bool {
	var m struct{ Result struct{ RequestState string } }
	if _, data, ok := strings.Cut(said, "data: "); ok {
		said = data
	}
	said, _, _ = strings.Cut(said, "\n")
	if json.Unmarshal([]byte(said), &m) != nil || m.Result.RequestState == "" {
		return false
	}
	c.more = `,"inputResponses":{"q1":{"action":"accept","content":{"sure":true}}},"requestState":"` + m.Result.RequestState + `"`
	return true
}

// ends repeats the call as long as it cannot be answered just now.
func (c *parked) ends(t *testing.T, want string) {
	t.Helper()
	eventually(t, recoverLimit, func() error {
		said, err := c.send(talkLimit)
		if err == nil && !strings.Contains(said, want) {
			err = fmt.Errorf("the call ends as %s", said)
		}
		return err
	})
}
