package health_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func (w *world) has(typ, reason, subject string, runs int) {
	w.t.Helper()
	c := store.Condition{ConditionKey: store.ConditionKey{TargetID: w.instance.TargetID, Type: typ, Reason: reason, Subject: subject}, Runs: runs}
	w.tx(func(tx *sqldb.Tx) error {
		_, err := w.store.PutCondition(w.t.Context(), tx, c)
		return err
	})
}

func TestHealthIsToldToItsOrganisation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	us := principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: "u", OrgID: w.instance.OrgID})
	other := principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: "v", OrgID: "org_other"})
	nobody := principal.With(t.Context(), principal.Principal{Kind: principal.Anonymous, OrgID: w.instance.OrgID})
	if res, err := w.service.ListHealth(us, &schedulerv1.ListHealthRequest{}); err != nil || !res.GetHealthy() {
		t.Errorf("ListHealth() = %v, %v; want healthy", res, err)
	}
	w.has(health.WorkflowFailing, health.FailsInSeries, "A", 3)
	w.has(health.WorkflowStuck, health.StepFails, "B", 1)
	app := &schedulerv1.GetAppHealthRequest{TargetId: w.instance.TargetID}
	if res, err := w.service.GetAppHealth(us, app); err != nil || res.GetHealthy() || len(res.GetConditions()) != 2 {
		t.Errorf("GetAppHealth() = %v, %v; want two", res, err)
	}
	first, err := w.service.ListHealth(us, &schedulerv1.ListHealthRequest{PageSize: 1})
	if err != nil || first.GetHealthy() || len(first.GetConditions()) != 1 || first.GetConditions()[0].GetSubject() != "A" {
		t.Fatalf("ListHealth() = %v, %v; want A", first, err)
	}
	second, err := w.service.ListHealth(us, &schedulerv1.ListHealthRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
	if err != nil || second.GetHealthy() || second.GetConditions()[0].GetSubject() != "B" || second.GetNextPageToken() != "" {
		t.Errorf("ListHealth() = %v, %v; want B, and no more", second, err)
	}
	if _, err := w.service.ListHealth(us, &schedulerv1.ListHealthRequest{PageToken: "?"}); !fault.Invalid.Is(err) {
		t.Errorf("ListHealth() with a broken token = %v", err)
	}
	if _, err := w.service.GetAppHealth(other, app); !fault.NotFound.Is(err) {
		t.Errorf("GetAppHealth() of a stranger = %v", err)
	}
	if res, err := w.service.ListHealth(other, &schedulerv1.ListHealthRequest{}); err != nil || len(res.GetConditions()) != 0 {
		t.Errorf("ListHealth() of a stranger = %v, %v", res, err)
	}
	if _, err := w.service.GetAppHealth(nobody, app); !fault.Denied.Is(err) {
		t.Errorf("GetAppHealth() of nobody = %v", err)
	}
	if _, err := w.service.ListHealth(nobody, &schedulerv1.ListHealthRequest{}); !fault.Denied.Is(err) {
		t.Errorf("ListHealth() of nobody = %v", err)
	}
}

func TestHealthAsMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	limits := quick()
	limits.Every = time.Hour
	w := newWorld(t, limits)
	w.has(health.WorkflowStuck, health.StepFails, "A", 2)
	w.has(health.WorkflowStuck, health.StepFails, "B", 3)
	w.has(health.NoWorker, health.NobodyPolls, "queue", 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.service.Run(ctx) }()
	eventually(t, "the metrics are told", func() bool {
		got := gauges(t, reader)
		return got["agentcloud.health.conditions "+health.StepFails] == 2 && got["agentcloud.health.conditions "+health.NobodyPolls] == 1 &&
			got["agentcloud.workflow.stuck "+health.StepFails] == 5
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// gauges are the last readings, by metric and reason.
func gauges(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var read metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &read); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range read.ScopeMetrics {
		for _, m := range scope.Metrics {
			points, _ := m.Data.(metricdata.Gauge[int64])
			for _, p := range points.DataPoints {
				reason, _ := p.Attributes.Value("agentcloud.condition.reason")
				got[m.Name+" "+reason.AsString()] = p.Value
			}
		}
	}
	return got
}
