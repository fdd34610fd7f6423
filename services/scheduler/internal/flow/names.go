// Package flow holds the scheduler's durable promises as Temporal workflows:
// deploy, retire, remove, and the one that runs a tool as a durable run.
//
// It decides order, patience and compensation only. What a step does is the
// business of the activities, which others implement; no secret value passes
// through here, since everything here is written to histories.
package flow

import "github.com/mcpagentcloud/agentcloud/pkg/agentenv"

// SystemNamespace holds the scheduler's own workflows.
const SystemNamespace = "agentcloud-system"

// SystemQueue is where this service polls for its own workflows and activities.
const SystemQueue = "agentcloud-scheduler"

// ToolsQueue is where, in each organisation's namespace, this service polls for
// runs of tools.
const ToolsQueue = "agentcloud-tools"

// CallsQueue is where, in the system namespace, this service polls for calls that wait
// for their clients.
const CallsQueue = "agentcloud-calls"

// BatchesQueue is where this service polls for batches; they wait long, so they are
// kept apart from deploys.
const BatchesQueue = "agentcloud-batches"

// RolloutsQueue is where this service polls for rollouts; they wait long, too.
const RolloutsQueue = "agentcloud-rollouts"

// TargetAttribute is the search attribute that says to which app or configuration
// a run belongs; every run has it.
const TargetAttribute = "AgentCloudTarget"

// VersionAttribute is the search attribute of the version that a tool's run was
// started on. Runs of workflow classes have Temporal's own.
const VersionAttribute = "AgentCloudVersion"

// CallerAttribute is the search attribute of the user who started a run, by id; runs of
// anonymous callers and children have none.
const CallerAttribute = "AgentCloudCaller"

// LabelsAttribute is the search attribute of what a run's starter tied to it: a list of
// "key=value".
const LabelsAttribute = "AgentCloudLabels"

// Keys of a run's memo.
const (
	MemoToolsQueue = "tools_queue" // where the tool's body is polled for
	MemoActivity   = "activity"    // ActivityPolicy
	MemoStartedBy  = "started_by"  // user id, of runs from before CallerAttribute
	MemoArguments  = "arguments"   // digest of them, of a run that a key names
	MemoVersion    = "version"     // version of a deploy
	MemoSchedule   = "schedule"    // name of the schedule that started it
	MemoPriority   = "priority"    // 1 to 5 where it is not the usual one, for lists, which do not have Temporal's own
	MemoBatch      = "batch"       // id of the batch that a run is an item of
	MemoBatchIndex = "batch_index" // its place in the inputs, from 0
)

// Workflow types.
const (
	DeployWorkflow  = "Deploy"
	PromoteWorkflow = "Promote"
	RetireWorkflow  = "Retire"
	RemoveWorkflow  = "Remove"
	CallWorkflow    = "BridgeCall"
	BatchWorkflow   = "Batch"
	StopWorkflow    = "Stop"
	RolloutWorkflow = "Rollout"
)

// CoolSignal tells a retirement to look whether its version may still stay up.
const CoolSignal = "cool"

// BeginScheduled is the activity that says where the body of a tool runs, for a run
// that a schedule started.
const BeginScheduled = "BeginScheduled"

// Names of what a call that waits takes.
const (
	CallState        = "call" // query
	CallAskUpdate    = "ask"
	CallAnswerUpdate = "answer"
	CallFinishUpdate = "finish"
	CallTakeUpdate   = "take"
)

// CallID is the workflow id of a call that waits for its client.
func CallID(callID string) string { return "bridge-" + callID }

// DeployID is the workflow id of a target's deploy or promotion: one at a time.
func DeployID(targetID string) string { return "deploy/" + targetID }

// RetireID is the workflow id of the end of one version.
func RetireID(targetID, versionID string) string { return "retire/" + targetID + "/" + versionID }

// ScheduleID is Temporal's id of a target's schedule.
func ScheduleID(targetID, name string) string { return targetID + "/" + name }

// StartedBySchedule is who started a run that a schedule did.
func StartedBySchedule(name string) string { return "schedule:" + name }

// RoundTripID is the workflow id of the look at a version's worker, which is in the
// organisation's namespace and of the cloud's own (agentenv.OfTheCloud).
func RoundTripID(versionID string) string { return agentenv.RoundTripWorkflow + "/" + versionID }

// RemoveID is the workflow id of the end of a target.
func RemoveID(targetID string) string { return "remove/" + targetID }

// BatchID is the workflow id of what steers a batch.
func BatchID(batchID string) string { return "batch/" + batchID }

// RolloutID is the workflow id of what tries a version.
func RolloutID(rolloutID string) string { return "rollout/" + rolloutID }

// StopID is the workflow id of the end of a run that was asked to end; it is in the
// run's own namespace.
func StopID(runID string) string { return "stop/" + runID }

// StopReason is the reason with which a run is terminated that was asked to end and did
// not; such a run counts as cancelled.
const StopReason = "it was asked to end, and did not"
