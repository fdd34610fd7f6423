// Package observe sets up what a process tells of itself: structured logs by slog,
// traces and metrics by OpenTelemetry, the latter only where an OTLP endpoint is
// configured by the standard environment variables.
package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	spantrace "go.opentelemetry.io/otel/trace"
)

// Options say how to log.
type Options struct {
	// Level is "debug", "info", "warn" or "error"; empty means info.
	Level string
	// Format is "json" or "text"; empty means json.
	Format string
	// Out gets the lines; nil means standard error.
	Out io.Writer
}

// NewLogger returns a logger that adds the trace of the context to each line.
func NewLogger(service string, opts Options) (*slog.Logger, error) {
	out := opts.Out
	if out == nil {
		out = os.Stderr
	}
	var level slog.Level
	if opts.Level != "" {
		if err := level.UnmarshalText([]byte(opts.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: use debug, info, warn or error", opts.Level)
		}
	}
	settings := &slog.HandlerOptions{Level: level}
	switch strings.ToLower(opts.Format) {
	case "", "json":
		return slog.New(traced{slog.NewJSONHandler(out, settings)}).With("service", service), nil
	case "text":
		return slog.New(traced{slog.NewTextHandler(out, settings)}).With("service", service), nil
	}
	return nil, fmt.Errorf("log format %q: use json or text", opts.Format)
}

// Setup makes the process's tracer and meter and returns how to flush them. Without
// OTEL_EXPORTER_OTLP_ENDPOINT it only sets the propagation of trace contexts.
func Setup(ctx context.Context, service string) (shutdown func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return func(context.Context) error { return nil }, nil
	}
	what := resource.NewSchemaless(semconv.ServiceName("agentcloud-" + service))
	spans, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	numbers, err := otlpmetricgrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export metrics: %w", err)
	}
	tracer := trace.NewTracerProvider(trace.WithBatcher(spans), trace.WithResource(what))
	meter := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(numbers)), metric.WithResource(what))
	otel.SetTracerProvider(tracer)
	otel.SetMeterProvider(meter)
	return func(ctx context.Context) error { return errors.Join(tracer.Shutdown(ctx), meter.Shutdown(ctx)) }, nil
}

// traced adds trace_id and span_id to records (OpenTelemetry log data model).
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, record slog.Record) error {
	if span := spantrace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return t.Handler.Handle(ctx, record)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
