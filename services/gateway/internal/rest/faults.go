package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// retryAfter is what a caller is told to wait, in seconds, when a part is away.
const retryAfter = 2

func writeFault(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	WriteFault(w, err)
}

func writeRoutingFault(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code == http.StatusMethodNotAllowed {
		WriteError(w, code, "this path does not take "+r.Method+"; see /api/openapi.json")
		return
	}
	writeFault(ctx, mux, m, w, r, fault.NotFound.Errorf("there is no such path; see /api/openapi.json"))
}

// WriteFault answers with the fault's status and sentence.
func WriteFault(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Unavailable || kind == fault.Exhausted {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	WriteError(w, kind.HTTPStatus(), fault.Message(err))
}

// WriteError answers {"error": sentence}, which the public command line shows.
func WriteError(w http.ResponseWriter, status int, sentence string) {
	body, err := json.Marshal(map[string]string{"error": sentence})
	if err != nil {
		body = []byte(`{"error":"internal error"}`)
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="agentcloud"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
