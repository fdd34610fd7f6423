package sessions

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// maxAsking bounds the questions of an agent's calls whose place is known.
const maxAsking = 64

// question is a request of the agent's, and where it was made.
type question struct {
	id string
	at Place
}

// noteAsking notes where an agent asks its client something inside of a call: the answer
// belongs there, whichever version the conversation is with by then.
func (u *Upstream) noteAsking(message []byte, in *http.Response) {
	if !bytes.Contains(message, []byte(`"id"`)) {
		return // most notifications have none, and need not be read
	}
	m, err := jsonrpc.Parse(message)
	if err != nil || !m.IsRequest() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking = append(u.asking, question{string(m.ID), PlaceOf(in)})
	if len(u.asking) > maxAsking {
		u.asking = append([]question(nil), u.asking[1:]...)
	}
}

// AskedElsewhere is where the agent asked what a response of the client answers, when that
// is not where the conversation is now. It tells once.
func (u *Upstream) AskedElsewhere(id json.RawMessage) (at Place, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := len(u.asking) - 1; i >= 0; i-- {
		if q := u.asking[i]; q.id == string(id) {
			u.asking = append(append([]question(nil), u.asking[:i]...), u.asking[i+1:]...)
			return q.at, q.at.URL != u.url
		}
	}
	return Place{}, false
}
