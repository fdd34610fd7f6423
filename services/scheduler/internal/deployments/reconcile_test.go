package deployments

import (
	"reflect"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// registry writes down what is registered.
type registry struct {
	worker.Registry
	activities map[string]bool
}

func (r registry) RegisterWorkflowWithOptions(any, workflow.RegisterOptions) {}

func (r registry) RegisterActivityWithOptions(_ any, o activity.RegisterOptions) {
	r.activities[o.Name] = true
}

// A step that no worker knows would be tried for ever.
func TestEachStepOfTheFlowsIsRegistered(t *testing.T) {
	t.Parallel()
	r := registry{activities: map[string]bool{}}
	register(r, &steps{})
	for _, of := range []reflect.Type{reflect.TypeFor[flow.DeploySteps](), reflect.TypeFor[flow.PromoteSteps](), reflect.TypeFor[flow.RetireSteps](), reflect.TypeFor[flow.RemoveSteps]()} {
		for i := range of.NumMethod() {
			if name := of.Method(i).Name; !r.activities[name] {
				t.Errorf("%s of %s is not registered", name, of)
			}
		}
	}
}
