// Package flow holds the scheduler's durable promises as Temporal workflows:
// deploy, retire, remove, and the one that runs a tool as a durable run.
//
// It decides order, patience and compensation only. What a step does is the
// business of the activities, which others implement; no secret value passes
// through here, since everything here is written to histories.
package flow

// SystemNamespace holds the scheduler's own workflows.
const SystemNamespace = "agentcloud-system"

// SystemQueue is where this service polls for its own workflows and activities.
const SystemQueue = "agentcloud-scheduler"

// ToolsQueue is where, in each organisation's namespace, this service polls for
// runs of tools.
const ToolsQueue = "agentcloud-tools"

// TargetAttribute is the search attribute that says to which app or configuration
// a run belongs; every run has it.
const TargetAttribute = "AgentCloudTarget"

// VersionAttribute is the search attribute of the version that a tool's run was
// started on. Runs of workflow classes have Temporal's own.
const VersionAttribute = "AgentCloudVersion"

// Keys of a run's memo.
const (
	MemoToolsQueue = "tools_queue" // where the tool's body is polled for
	MemoActivity   = "activity"    // ActivityPolicy
	MemoStartedBy  = "started_by"  // user id
	MemoArguments  = "arguments"   // digest of them, of a run that a key names
	MemoVersion    = "version"     // version of a deploy
)

// Workflow types.
const (
	DeployWorkflow = "Deploy"
	RetireWorkflow = "Retire"
	RemoveWorkflow = "Remove"
)

// DeployID is the workflow id of a target's deploy: one at a time.
func DeployID(targetID string) string { return "deploy/" + targetID }

// RetireID is the workflow id of the end of one version.
func RetireID(targetID, versionID string) string { return "retire/" + targetID + "/" + versionID }

// RemoveID is the workflow id of the end of a target.
func RemoveID(targetID string) string { return "remove/" + targetID }
