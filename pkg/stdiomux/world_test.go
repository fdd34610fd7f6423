package stdiomux_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/stdiomux"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

type rpc map[string]any

// end is one side of a conversation in lines.
type end struct {
	t   *testing.T
	out io.Writer
	in  chan rpc
}

func newEnd(t *testing.T, in io.Reader, out io.Writer) *end {
	t.Helper()
	e := &end{t: t, out: out, in: make(chan rpc, 1000)}
	go func() {
		defer close(e.in)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, 64<<20)
		for scanner.Scan() {
			var msg rpc
			if err := json.Unmarshal(scanner.Bytes(), &msg); err != nil {
				msg = rpc{"broken": scanner.Text()}
			}
			e.in <- msg
		}
	}()
	return e
}

func (e *end) say(line string) {
	e.t.Helper()
	if _, err := io.WriteString(e.out, line+"\n"); err != nil {
		e.t.Fatalf("write %.80s: %v", line, err)
	}
}

func (e *end) hear() rpc {
	e.t.Helper()
	select {
	case msg, ok := <-e.in:
		if !ok {
			e.t.Fatal("the other side has gone")
		}
		return msg
	case <-time.After(patience):
		e.t.Fatal("nothing came")
	}
	return nil
}

// want waits for a message that has these members; a value of nil stands for any.
func (e *end) want(members rpc) rpc {
	e.t.Helper()
	got := e.hear()
	for name, value := range members {
		found, ok := got[name]
		if !ok || value != nil && asJSON(found) != asJSON(value) {
			e.t.Fatalf("got %s, want %s", asJSON(got), asJSON(members))
		}
	}
	return got
}

func (e *end) silent() {
	e.t.Helper()
	select {
	case msg := <-e.in:
		e.t.Errorf("got %s, want nothing", asJSON(msg))
	default:
	}
}

func asJSON(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// world is a mux, whose processes and clients are the test.
type world struct {
	t   *testing.T
	mux *stdiomux.Mux
	// output are lines that were no messages.
	output chan string
}

func newWorld(t *testing.T, o stdiomux.Options) *world {
	t.Helper()
	w := &world{t: t, output: make(chan string, 100)}
	o.Name = "echo"
	o.Output = func(line []byte) { w.output <- string(line) }
	w.mux = stdiomux.New(o)
	return w
}

// process is one process of the server.
type process struct {
	*end
	stdin *io.PipeReader // what it reads
	kill  func()
	ended chan error // has the error of Serve
}

func (w *world) serve(why string) *process {
	w.t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &process{stdin: inR, ended: make(chan error, 1)}
	p.kill = sync.OnceFunc(func() {
		_ = outW.Close()
		_ = inR.Close()
	})
	p.end = newEnd(w.t, inR, outW)
	go func() {
		p.ended <- w.mux.Serve(context.Background(), stdiomux.Process{Stdout: outR, Stdin: inW, Kill: p.kill, Why: func() string { return why }})
	}()
	w.t.Cleanup(p.kill)
	return p
}

// welcome is the process's part of a handshake.
func (p *process) welcome() rpc {
	p.t.Helper()
	hello := p.want(rpc{"method": "initialize", "id": nil})
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"echo"},"capabilities":{}}}`, hello["id"]))
	p.want(rpc{"method": "notifications/initialized"})
	return hello
}

// call waits for a request and says its id.
func (p *process) call(method string) any {
	p.t.Helper()
	return p.want(rpc{"method": method, "id": nil})["id"]
}

func (w *world) attach() *end {
	w.t.Helper()
	ours, theirs := net.Pipe()
	w.t.Cleanup(func() { _ = ours.Close() })
	go func() { _ = w.mux.Attach(context.Background(), theirs) }()
	return newEnd(w.t, ours, ours)
}

const allCapabilities = `{"sampling":{},"elicitation":{},"roots":{}}`

func hello(capabilities string) string {
	return `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","clientInfo":{"name":"c"},"capabilities":` + capabilities + `}}`
}

// greeted attaches clients to a process that has just begun.
func (w *world) greeted(p *process, n int, capabilities string) []*end {
	w.t.Helper()
	var clients []*end
	for i := range n {
		c := w.attach()
		c.say(hello(capabilities))
		if i == 0 {
			p.welcome()
		}
		c.want(rpc{"id": "hello", "result": nil})
		c.say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		clients = append(clients, c)
	}
	return clients
}
