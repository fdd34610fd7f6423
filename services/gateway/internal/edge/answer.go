package edge

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const retrySeconds = 2

// readMessage reads a client's message within bounds.
func (v visit) readMessage(w http.ResponseWriter, r *http.Request) ([]byte, jsonrpc.Message, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, v.deps.Config.MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, jsonrpc.Message{}, fault.TooLarge.Wrap(err, "a message may have at most %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, jsonrpc.Message{}, fault.Invalid.Wrap(err, "the body ended early")
	}
	m, err := jsonrpc.Parse(body)
	return body, m, err
}

// refuse answers with a JSON-RPC error and the fault's HTTP status.
func refuse(w http.ResponseWriter, m jsonrpc.Message, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Unavailable || kind == fault.Exhausted {
		w.Header().Set("Retry-After", strconv.Itoa(retrySeconds))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(kind.HTTPStatus())
	_, _ = w.Write(jsonrpc.NewError(m.ID, code(err), fault.Message(err)))
}

// code is the JSON-RPC error code of a fault.
func code(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge:
		return jsonrpc.CodeInvalidRequest
	case fault.NotFound, fault.Unimplemented:
		return jsonrpc.CodeMethodNotFound
	case fault.Internal:
		return jsonrpc.CodeInternal
	}
	return jsonrpc.CodeUnavailable
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// passOn copies an agent's answer to the client as it comes, event by event.
func passOn(w http.ResponseWriter, res *http.Response) {
	defer res.Body.Close() //nolint:errcheck // the client's copy is what counts
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	if !sessions.IsEventStream(res) {
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
		return
	}
	streamHeaders(w)
	w.WriteHeader(res.StatusCode)
	flusher := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			if flusher.Flush() != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func streamHeaders(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-cache, no-transform")
	w.Header().Set("X-Accel-Buffering", "no")
}
