package edge

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const retrySeconds = 2

// readMessage reads a client's message within bounds. It refuses, and ok is false,
// when that is none.
func (v visit) readMessage(w http.ResponseWriter, r *http.Request) (body []byte, m jsonrpc.Message, ok bool) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		respond(w, http.StatusUnsupportedMediaType, jsonrpc.NewError(nil, jsonrpc.CodeInvalidRequest, "send a message as it is, without Content-Encoding"))
		return nil, m, false
	}
	if kind := r.Header.Get("Content-Type"); kind != "" && !isJSON(kind) {
		respond(w, http.StatusUnsupportedMediaType, jsonrpc.NewError(nil, jsonrpc.CodeInvalidRequest, "send a message as Content-Type: application/json"))
		return nil, m, false
	}
	body, m, err := v.read(w, r)
	if err != nil {
		refuse(w, m, err)
	}
	return body, m, err == nil
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}

func (v visit) read(w http.ResponseWriter, r *http.Request) ([]byte, jsonrpc.Message, error) {
	body, err := v.readBody(w, r)
	if err != nil {
		return nil, jsonrpc.Message{}, err
	}
	m, err := jsonrpc.Parse(body)
	return body, m, err
}

func (v visit) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(v.deps.Config.BodyWait)) // not every writer has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, v.deps.Config.MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, fault.TooLarge.Wrap(err, "a message may have at most %d bytes", tooLarge.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fault.Invalid.Wrap(err, "the body has to come within %s", v.deps.Config.BodyWait)
	}
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "the body ended early")
	}
	_ = control.SetReadDeadline(time.Time{}) // what comes after it has no hurry
	return body, nil
}

// refuse answers with a JSON-RPC error and the fault's HTTP status.
func refuse(w http.ResponseWriter, m jsonrpc.Message, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Unavailable || kind == fault.Exhausted {
		setRetryAfter(w, err)
	}
	status := kind.HTTPStatus()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		status = http.StatusRequestTimeout
		w.Header().Set("Connection", "close") // the rest of the body may still come
	}
	respond(w, status, failure(m.ID, err))
}

func respond(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, and said to be so
}

// code is the JSON-RPC error code of a fault.
func code(err error) int {
	if errors.Is(err, jsonrpc.ErrSyntax) {
		return jsonrpc.CodeParse
	}
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

func writeJSON(w http.ResponseWriter, body []byte) { respond(w, http.StatusOK, body) }

func streamHeaders(w http.ResponseWriter) { setStreamHeaders(w.Header()) }

func setStreamHeaders(h http.Header) {
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
}
