package edge

import (
	"io"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// wholeBytes is how much of an answer that is no stream is read before the client
// gets any of it.
const wholeBytes = 1 << 20

// passOn gives the client an agent's answer as it comes. A client whose answer breaks
// off is told so: it would wait for ever otherwise.
func passOn(w http.ResponseWriter, res *http.Response, m jsonrpc.Message) {
	defer res.Body.Close() //nolint:errcheck // the client's copy is what counts
	if sessions.IsEventStream(res) {
		passEvents(w, res, m)
		return
	}
	begin, err := io.ReadAll(io.LimitReader(res.Body, wholeBytes))
	if err != nil {
		refuse(w, m, fault.Unavailable.Wrap(err, brokenOff))
		return
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	if _, err := w.Write(begin); err != nil || len(begin) < wholeBytes {
		return
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
}

const brokenOff = "the agent went away during the call; it may have been started"

// passEvents passes whole events on, each at once. Half an event at the end is dropped.
func passEvents(w http.ResponseWriter, res *http.Response, m jsonrpc.Message) {
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	streamHeaders(w)
	w.WriteHeader(res.StatusCode)
	control := http.NewResponseController(w)
	answered := false
	put := func(raw []byte) error {
		if _, err := w.Write(raw); err != nil {
			return err
		}
		return control.Flush()
	}
	_ = sessions.ReadEvents(res.Body, func(e sessions.Event) error { // how it ended does not matter
		answered = answered || isResponse(e.Data)
		return put(e.Raw)
	})
	if !answered {
		_ = put(sessions.AppendEvent(nil, "message", jsonrpc.NewError(m.ID, jsonrpc.CodeUnavailable, brokenOff)))
	}
}

// isResponse says whether a message is the response that a call's stream is for.
func isResponse(data []byte) bool {
	m, err := jsonrpc.Parse(data)
	return err == nil && m.IsResponse()
}
