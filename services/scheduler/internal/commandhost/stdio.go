package commandhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

// greeting is the initialize with which a program is tried.
const greeting = `{"jsonrpc":"2.0","id":"agentcloud","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"agentcloud","version":"1"}}}`

const greetingID = `"agentcloud"`

// hello is what a server says of itself.
type hello struct{ Name, Instructions string }

// readHello reads the answer to the greeting.
func readHello(raw []byte) (hello, error) {
	var answer struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
		Result *struct {
			Instructions string `json:"instructions"`
			ServerInfo   struct {
				Name string `json:"name"`
			} `json:"serverInfo"`
		} `json:"result"`
	}
	err := json.Unmarshal(raw, &answer)
	switch {
	case err == nil && answer.Error != nil:
		return hello{}, fmt.Errorf("the program answers initialize with an error: %.500s", answer.Error.Message)
	case err != nil || answer.Result == nil:
		return hello{}, fmt.Errorf("the program answers initialize with what is no answer: %.200q", raw)
	}
	return hello{Name: answer.Result.ServerInfo.Name, Instructions: answer.Result.Instructions}, nil
}

// stdio is a program that speaks by its standard input and output, in a process for each
// session.
type stdio struct {
	*bridge
	last *lines.Tail
	stop context.CancelFunc
}

func beginStdio(going context.Context, s starter, most int) *stdio {
	sweeping, stop := context.WithCancel(context.Background())
	p := &stdio{bridge: &bridge{sessions: newSessions(s, most), out: s.out, going: going}, last: &lines.Tail{}, stop: stop}
	go p.sessions.sweep(sweeping)
	return p
}

// introduce tries the program in a process of its own, while the one for the first
// session starts beside it.
func (p *stdio) introduce(ctx context.Context) (hello, error) {
	c, err := p.sessions.starter.start(true)
	if err != nil {
		return hello{}, err
	}
	p.sessions.mu.Lock()
	p.sessions.fill()
	p.sessions.mu.Unlock()
	defer func() { go c.end(); p.last = &c.last }()
	defer context.AfterFunc(ctx, func() { _ = c.stdout.SetReadDeadline(time.Now()) })()
	_, _ = c.stdin.WriteString(greeting + "\n") // a program that reads nothing will not answer either
	reader := bufio.NewReaderSize(c.stdout, 64<<10)
	for {
		line, err := readLine(reader)
		m, odd := parse(line)
		switch {
		case odd == nil && m.isResponse() && m.id == greetingID:
			return readHello(line)
		case odd != nil && len(bytes.TrimSpace(line)) > 0:
			c.last.Add(p.out.words("stdout", bytes.TrimSpace(line)))
		}
		if err != nil {
			return hello{}, silent(ctx, c, err)
		}
	}
}

// silent tells why the greeting has no answer.
func silent(ctx context.Context, c *child, err error) error {
	switch {
	case errors.Is(err, errLong):
		return err
	case ctx.Err() != nil:
		return errors.New("the program did not answer initialize on its standard output in time; does it speak MCP there? one that speaks HTTP needs `transport: http` in agentcloud.yaml")
	}
	if !c.over(stdinWait) {
		return errors.New("the program closed its standard output; it must speak MCP there, or say `transport: http` in agentcloud.yaml")
	}
	time.Sleep(lastLinesWait)
	return errors.New(c.how() + " before it answered initialize")
}

func (p *stdio) ended() <-chan struct{} { return nil }

func (p *stdio) close() int {
	p.stop()
	p.sessions.close()
	return 0
}

func (p *stdio) words() string { return p.last.Text() }
