package edge

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxNamed bounds what a caller's word becomes in a record.
const maxNamed = 128

// audit writes down who asked what of which app, before it is done: of a crash in
// between there is a record. Arguments and answers are not in it.
func (v visit) audit(ctx context.Context, method, tool, limit string) {
	address := v.route.Address
	record := [...]slog.Attr{
		slog.String("org", address.GetOrgId()), slog.String("app", address.GetAppId()), slog.String("caller", v.caller.UserID),
		slog.String("key", v.caller.KeyID), slog.String("method", named(method)), slog.String("tool", named(tool)), slog.String("limit", limit),
	}
	v.deps.Log.LogAttrs(ctx, slog.LevelInfo, "request", record[:]...)
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("mcp.method.name", named(method)), attribute.String("gen_ai.tool.name", named(tool)),
			attribute.String("app.id", address.GetAppId()))
	}
}

func named(text string) string {
	if len(text) > maxNamed {
		return text[:maxNamed]
	}
	return text
}

// traced begins the span of a request, as a part of the caller's trace if it has one
// (W3C Trace Context).
func traced(next http.Handler) http.Handler {
	tracer := otel.Tracer("agentcloud/gateway")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
