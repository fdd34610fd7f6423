package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
)

// tailLogs streams log lines as they are written, in the form that the public
// command line reads. Without a key there is nothing to see, also of an open app.
func (v visit) tailLogs(w http.ResponseWriter, r *http.Request) {
	if v.caller.Kind != principal.User {
		rest.WriteError(w, http.StatusUnauthorized, "an API key is needed to read logs")
		return
	}
	tail, err := v.deps.Telemetry.TailLogs(r.Context(), &telemetryv1.TailLogsRequest{TargetId: v.route.Address.GetTargetId()})
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	st, ok := openStream(w, v.deps.Config.KeepAlive)
	if !ok {
		return
	}
	for ok {
		step, err := tail.Recv()
		if err != nil {
			return
		}
		ok = st.lines(r.Context(), step)
	}
}

func (st *stream) lines(ctx context.Context, step *telemetryv1.TailLogsResponse) bool {
	if step.GetDropped() > 0 && !st.line("WARNING", time.Now(), "lines were left out: this reader is too slow") {
		return false
	}
	for _, entry := range step.GetEntries() {
		level := strings.TrimPrefix(entry.GetLevel(), "LOG_LEVEL_")
		if !st.line(level, entry.GetTimestamp().AsTime(), entry.GetMessage()) {
			return false
		}
	}
	if len(step.GetEntries()) == 0 && !st.comment() {
		return false
	}
	return ctx.Err() == nil
}

// line writes one line; its time is a number, seconds since 1970.
func (st *stream) line(level string, at time.Time, message string) bool {
	data, err := json.Marshal(map[string]any{"message": message, "time": float64(at.UnixMilli()) / 1000, "level": level})
	if err != nil {
		return false
	}
	return st.write([]byte("data: " + string(data) + "\n\n"))
}
