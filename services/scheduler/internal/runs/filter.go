package runs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// deploymentVersion is Temporal's search attribute of the version a run is bound to,
// whose values are deployment and build with a colon between.
const deploymentVersion = "TemporalWorkerDeploymentVersion"

// conditions are what a filter asks for beside its target, in Temporal's language. All
// of them must hold. They are empty when it asks for nothing.
func (s *Service) conditions(ctx context.Context, f *schedulerv1.RunFilter) ([]string, error) {
	status, err := ofStatus(f.GetStatus())
	if err != nil {
		return nil, err
	}
	version, err := s.ofVersion(ctx, f)
	if err != nil {
		return nil, err
	}
	labels, err := ofLabels(f.GetLabels())
	if err != nil {
		return nil, err
	}
	own, err := ownQuery(f.GetQuery())
	if err != nil {
		return nil, err
	}
	times, err := ofTimes(f)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(status, version, labels, times, own)
	if name := f.GetName(); name != "" {
		all = append(all, fmt.Sprintf("WorkflowType IN (%s, %s)", quote(name), quote(agentenv.ToolWorkflow(name))))
	}
	if by := f.GetStartedBy(); by != "" {
		all = append(all, flow.CallerAttribute+" = "+quote(by))
	}
	return all, nil
}

// queryOf is the whole condition for the runs in a scope that a filter leaves.
func queryOf(sc scope, conditions []string) string {
	return strings.Join(append([]string{sc.query}, conditions...), " AND ")
}

func ofStatus(status schedulerv1.RunStatus) ([]string, error) {
	if status == schedulerv1.RunStatus_RUN_STATUS_UNSPECIFIED {
		return nil, nil
	}
	word, ok := queryStatus[status]
	if !ok {
		return nil, fault.Invalid.Errorf("there is no run status %d", status)
	}
	return []string{"ExecutionStatus = " + quote(word)}, nil
}

// ofVersion covers runs of classes, which Temporal binds to a version, and runs of tools.
func (s *Service) ofVersion(ctx context.Context, f *schedulerv1.RunFilter) ([]string, error) {
	id := f.GetVersionId()
	if id == "" {
		return nil, nil
	}
	v, err := s.deps.Store.Version(ctx, id)
	if err != nil {
		return nil, err
	}
	if !store.Sees(principal.From(ctx), v.OrgID) {
		return nil, fault.NotFound.Errorf("no such version: %s", id)
	}
	return []string{fmt.Sprintf("(%s = %s OR %s = %s)",
		flow.VersionAttribute, quote(id), deploymentVersion, quote(v.TargetID+":"+id))}, nil
}

func ofLabels(labels []string) ([]string, error) {
	if len(labels) > maxLabels {
		return nil, fault.Invalid.Errorf("a run has at most %d labels", maxLabels)
	}
	var all []string
	for _, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return nil, fault.Invalid.Errorf("the label %q has no value; write it as key=value", label)
		}
		if err := checkLabel(key, value); err != nil {
			return nil, err
		}
		all = append(all, flow.LabelsAttribute+" = "+quote(label))
	}
	return all, nil
}

func ofTimes(f *schedulerv1.RunFilter) ([]string, error) {
	var all []string
	for _, bound := range []struct {
		what string
		at   *timestamppb.Timestamp
	}{
		{"StartTime >=", f.GetStartedAfter()},
		{"StartTime <", f.GetStartedBefore()},
		{"CloseTime >=", f.GetClosedAfter()},
		{"CloseTime <", f.GetClosedBefore()},
	} {
		if bound.at == nil {
			continue
		}
		if err := bound.at.CheckValid(); err != nil {
			return nil, fault.Invalid.Wrap(err, "a time of the filter is out of range")
		}
		all = append(all, bound.what+" "+quote(bound.at.AsTime().Format(time.RFC3339Nano)))
	}
	return all, nil
}
