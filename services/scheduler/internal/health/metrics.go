package health

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostSeries bounds the sets of attributes of one reading.
const mostSeries = 1000

// measureConditions tells of the conditions as metrics, until stop.
func (s *Service) measureConditions() (stop func(), _ error) {
	meter := otel.Meter("github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health")
	conditions, err := meter.Int64ObservableGauge("agentcloud.health.conditions",
		metric.WithUnit("{condition}"), metric.WithDescription("Things that are wrong with an app's workflows."))
	if err != nil {
		return nil, err
	}
	stuck, err := meter.Int64ObservableGauge("agentcloud.workflow.stuck",
		metric.WithUnit("{run}"), metric.WithDescription("Open runs that do not get on."))
	if err != nil {
		return nil, err
	}
	registered, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		told := s.told.Load()
		if told == nil {
			return nil
		}
		wrong, runs := tally(*told)
		for set, n := range wrong {
			o.ObserveInt64(conditions, n, metric.WithAttributeSet(set.attributes()))
		}
		for set, n := range runs {
			o.ObserveInt64(stuck, n, metric.WithAttributeSet(set.attributes()))
		}
		return nil
	}, conditions, stuck)
	if err != nil {
		return nil, err
	}
	return func() { _ = registered.Unregister() }, nil // it fails only when it was done already
}

// series is one set of attributes: names of apps and codes, never of runs.
type series struct{ app, typ, reason string }

func (s series) attributes() attribute.Set {
	return attribute.NewSet(
		attribute.String("agentcloud.app.id", s.app), attribute.String("agentcloud.condition.type", s.typ),
		attribute.String("agentcloud.condition.reason", s.reason),
	)
}

// tally counts conditions, and the runs of those that are stuck.
func tally(conditions []store.Condition) (wrong, stuck map[series]int64) {
	wrong, stuck = map[series]int64{}, map[series]int64{}
	for _, c := range conditions {
		set := series{c.TargetID, c.Type, c.Reason}
		if _, known := wrong[set]; !known && len(wrong) == mostSeries {
			continue
		}
		wrong[set]++
		if c.Type == WorkflowStuck {
			stuck[set] += int64(c.Runs)
		}
	}
	return wrong, stuck
}
