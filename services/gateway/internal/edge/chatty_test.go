package edge_test

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// chatty is an agent that says, asks and answers with the label of its caller. Its ids
// and tokens are the same in every session, so that a mistaken one is of use.
type chatty struct {
	w       *world
	mu      sync.Mutex
	waiting map[string]chan json.RawMessage // session and id to the answer
	of      map[string]string               // session to the label of its user
}

func newChatty(w *world) *chatty {
	c := &chatty{w: w, waiting: map[string]chan json.RawMessage{}, of: map[string]string{}}
	w.agent.Told, w.agent.Call = c.told, c.call
	return c
}

// heard holds a session to one label.
func (c *chatty) heard(session, text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, found := range labels.FindAllString(text, -1) {
		if c.of[session] == "" {
			c.of[session] = found
		}
		if c.of[session] != found {
			c.w.t.Errorf("in the session of %s the agent hears %s", c.of[session], text)
		}
	}
	return c.of[session]
}

func (c *chatty) told(session string, m jsonrpc.Message) {
	c.heard(session, string(m.Result)+string(m.Params))
	c.mu.Lock()
	answer, ok := c.waiting[session+" "+string(m.ID)]
	c.mu.Unlock()
	if ok && m.IsResponse() {
		select {
		case answer <- m.Result:
		default:
			c.w.t.Errorf("a second answer: %s", m.Result)
		}
	}
}

// ask asks the caller within a call.
func (c *chatty) ask(rw http.ResponseWriter, r *http.Request, id, method, params string) string {
	key, answer := r.Header.Get("Mcp-Session-Id")+" "+id, make(chan json.RawMessage, 1)
	c.mu.Lock()
	c.waiting[key] = answer
	c.mu.Unlock()
	edgetest.Event(rw, jsonrpc.NewRequest(json.RawMessage(id), method, json.RawMessage(params)))
	select {
	case told := <-answer:
		return string(told)
	case <-r.Context().Done():
		return `null`
	}
}

func (c *chatty) call(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
	session := r.Header.Get("Mcp-Session-Id")
	own := c.heard(session, string(m.Params))
	edgetest.Stream(rw)
	edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":1,"message":"`+own+`"}}`))
	edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"`+own+`"}}`))
	c.w.agent.SayTo(session, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"unasked `+own+`"}}`)
	sure := c.ask(rw, r, "1", "elicitation/create", `{"message":"Sure, `+own+`?","requestedSchema":{"type":"object","properties":{}}}`)
	sample := c.ask(rw, r, "2", "sampling/createMessage", `{"maxTokens":1,"messages":[{"role":"user","content":{"type":"text","text":"`+own+`"}}]}`)
	edgetest.Event(rw, jsonrpc.NewResult(m.ID, json.RawMessage(`{"content":[],"sure":`+sure+`,"sample":`+sample+`}`)))
}
