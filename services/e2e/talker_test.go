package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	talkLimit = 30 * time.Second
	helloBody = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"talker","version":"1"}}}`
	readyBody = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

// talker is an MCP client by hand, with one session that it never begins anew.
type talker struct {
	endpoint
	session string
	last    int
}

// open begins the session.
func (c *talker) open(t *testing.T) {
	t.Helper()
	res, err := c.send(http.MethodPost, helloBody)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	said, _ := io.ReadAll(res.Body)
	if c.session = res.Header.Get("Mcp-Session-Id"); c.session == "" {
		t.Fatalf("initialize: %s, %s", res.Status, said)
	}
	if err := c.post(readyBody); err != nil {
		t.Fatal(err)
	}
}

func (c *talker) send(method, body string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), talkLimit)
	req, err := http.NewRequestWithContext(ctx, method, c.url, strings.NewReader(body))
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Content-Type", "application/json")
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
		req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = canceling{res.Body, cancel}
	return res, nil
}

// canceling ends a request with its answer.
type canceling struct {
	io.ReadCloser
	cancel func()
}

// Close ends both.
func (c canceling) Close() error { c.cancel(); return c.ReadCloser.Close() }

// post sends what has no answer.
func (c *talker) post(body string) error {
	res, err := c.send(http.MethodPost, body)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // nothing in it
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("a message was answered with %s", res.Status)
	}
	return nil
}

// call calls a tool and returns the text of its answer.
func (c *talker) call(tool string, arguments any) (string, error) {
	raw, err := json.Marshal(arguments)
	if err != nil {
		return "", err
	}
	c.last++
	res, err := c.send(http.MethodPost, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, c.last, tool, raw))
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	said, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", tool, res.Status, said)
	}
	for line := range bytes.Lines(said) {
		if text, ok := answered(bytes.TrimPrefix(line, []byte("data: "))); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("%s answered %s", tool, said)
}

// answered is the text of a tool's answer; messages before it are none.
func answered(message []byte) (text string, ok bool) {
	var answer struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
		}
	}
	if json.Unmarshal(message, &answer) != nil || len(answer.Result.Content) == 0 || answer.Result.IsError {
		return "", false
	}
	return answer.Result.Content[0].Text, true
}

// asked is what the session's stream asks first that contains a text: the id of the
// request.
func (c *talker) asked(text string) (id string, err error) {
	res, err := c.send(http.MethodGet, "")
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // it never ends
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		var m struct{ ID, Method string }
		if ok && bytes.Contains(data, []byte(text)) && json.Unmarshal(data, &m) == nil && m.Method == "elicitation/create" {
			return m.ID, nil
		}
	}
	return "", fmt.Errorf("nothing asks about %q: %s, %w", text, res.Status, lines.Err())
}
