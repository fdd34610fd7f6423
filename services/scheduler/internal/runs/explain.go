package runs

import (
	failurepb "go.temporal.io/api/failure/v1"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Explain tells type and message of the failure that the author of the code would
// know, as a run that ended with it does.
func Explain(f *failurepb.Failure) (kind, message string) {
	var run schedulerv1.Run
	explain(&run, f)
	return run.GetErrorType(), run.GetErrorMessage()
}
