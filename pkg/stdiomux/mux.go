// Package stdiomux lets several clients share one process that speaks MCP over its
// standard input and output.
//
// Such a process knows one client. The mux is that client: it shakes hands once and
// repeats the answer to whoever comes, gives each call an id of its own, and brings
// answers, progress and questions to whom they belong. It outlives the process: calls
// that were under way get an error when that ends, and the next one is told what the
// clients had said to the last.
//
// It starts nothing and opens nothing; it reads and writes what it is given.
//
// What MCP does not say over standard output is whose call a question belongs to. A
// question of the server (sampling, elicitation) goes to the client whose calls are
// under way when that is one, and is refused otherwise: it may hold another's data.
package stdiomux

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Defaults of Options.
const (
	defaultLine     = 16 << 20
	defaultQueue    = 32 << 20
	defaultTotal    = 128 << 20
	defaultClients  = 256
	defaultCalls    = 1000
	defaultPatience = time.Minute
)

// everything is declared to the server, since clients that can take more may come
// later; what the client in question cannot take is refused in its name.
const everything = `{"roots":{"listChanged":true},"sampling":{},"elicitation":{}}`

// Options are the bounds of a mux. Zero fields mean the defaults in the comments.
type Options struct {
	// Name of the server, for sentences.
	Name string
	// MaxLine bounds one message: 16 MiB.
	MaxLine int
	// MaxQueue bounds the bytes that wait for one reader: 32 MiB; a message alone may be
	// larger. A client that does not read is dropped; a process that does not read makes
	// clients wait.
	MaxQueue int
	// MaxTotal bounds the bytes that wait for all clients together: 128 MiB.
	MaxTotal int
	// MaxClients at a time: 256.
	MaxClients int
	// MaxCalls of one client that are under way, and questions that one is asked: 1,000.
	MaxCalls int
	// Patience is how long the process may take to shake hands: a minute.
	Patience time.Duration
	// Output takes lines of standard output that are no messages; nil: they are dropped.
	Output func(line []byte)
}

// Mux is between one server and its clients.
type Mux struct {
	options Options
	in      *queue // to the process, whichever it is
	total   *budget

	mu      sync.Mutex
	next    uint64 // the last id that the process was given, and the last client's number
	clients []*client
	calls   map[uint64]*call
	// questions are what the process has asked, by its id.
	questions map[string]*client
	// hello is what the first client shook hands with, and welcome the answer to it.
	hello, welcome json.RawMessage
	waiting        []waiter // for the handshake
	session        *session // with the process; nil: there is none
	reason         string   // why there will be none for now
}

// waiter is a client's open initialize.
type waiter struct {
	client *client
	id     json.RawMessage
}

// New returns a mux without clients or process.
func New(o Options) *Mux {
	o.Name = cmp.Or(o.Name, "the server")
	o.MaxLine, o.MaxQueue = cmp.Or(o.MaxLine, defaultLine), cmp.Or(o.MaxQueue, defaultQueue)
	o.MaxTotal = cmp.Or(o.MaxTotal, defaultTotal)
	o.MaxClients, o.MaxCalls = cmp.Or(o.MaxClients, defaultClients), cmp.Or(o.MaxCalls, defaultCalls)
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	if o.Output == nil {
		o.Output = func([]byte) {}
	}
	return &Mux{
		options: o, in: newQueue(o.MaxQueue, nil), total: &budget{max: int64(o.MaxTotal)},
		calls: map[uint64]*call{}, questions: map[string]*client{},
	}
}

// Clients says how many there are.
func (m *Mux) Clients() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.clients)
}

// Down says that no process will serve for a while, and why. Calls that wait for one
// get an error, and so do all until Up or the next Serve.
func (m *Mux) Down(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reason = reason
	for _, c := range m.calls {
		m.fail(c, reason)
	}
	for _, w := range m.waiting {
		w.client.answer(failure(w.id, codeGone, reason))
	}
	m.waiting = nil
	m.in.keep(func(item) bool { return false })
}

// Up says that a process may serve again; calls wait for it.
func (m *Mux) Up() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reason = ""
}

// fail ends a call by an error. m.mu is held.
func (m *Mux) fail(c *call, reason string) {
	m.forget(c)
	c.client.answer(failure(c.id, codeGone, reason))
}

// forget ends a call. m.mu is held.
func (m *Mux) forget(c *call) {
	delete(m.calls, c.number)
	delete(c.client.calls, string(c.id))
}

func (m *Mux) number() uint64 {
	m.next++
	return m.next
}

// say tells the process something of the mux's own, if there is one. m.mu is held.
func (m *Mux) say(msg message) {
	if m.session != nil && !m.in.force(item{line: msg.encode()}) {
		m.session.end("it does not read its input")
	}
}

func (m *Mux) gone(why string) string {
	return fmt.Sprintf("the MCP server %s %s", m.options.Name, why)
}
