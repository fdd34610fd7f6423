package agentenv

import "strings"

const (
	autoWorkflow = "AutoWorkflow_"
	toolActivity = "tool:"
	ofTheCloud   = "agentcloud."
)

// RoundTripWorkflow is a workflow type of the cloud's own in agents' workers: it waits for
// RoundTripSignal and ends with the text that this carried.
const (
	RoundTripWorkflow = ofTheCloud + "round-trip"
	RoundTripSignal   = "say"
)

// HeadroomHeader is a header of gRPC, by which a worker says that it has a place for urgent
// runs beside the one in which runs begin in order.
const HeadroomHeader = "agentcloud-headroom"

// OfTheCloud says whether a workflow type or the id of a run is of the cloud's own, which
// no agent may start.
func OfTheCloud(name string) bool { return strings.HasPrefix(name, ofTheCloud) }

// TaskQueue is where the workers of an app's workflow classes poll, all
// versions alike: worker versioning keeps a run on the version it began with.
func TaskQueue(targetID string) string { return targetID }

// ToolsQueue is where the servers of one version poll for tool bodies.
func ToolsQueue(targetID, versionID string) string { return targetID + "/" + versionID + "/tools" }

// ToolWorkflow is the workflow type of a run of a tool.
func ToolWorkflow(tool string) string { return autoWorkflow + tool }

// ToolOfWorkflow is the inverse of ToolWorkflow.
func ToolOfWorkflow(workflowType string) (tool string, ok bool) {
	return strings.CutPrefix(workflowType, autoWorkflow)
}

// ToolActivity is the activity type that runs a tool's body once. Its input is
// one JSON object of arguments, its result the tool's value.
func ToolActivity(tool string) string { return toolActivity + tool }

// ToolOfActivity is the inverse of ToolActivity.
func ToolOfActivity(activityType string) (tool string, ok bool) {
	return strings.CutPrefix(activityType, toolActivity)
}
