package health

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// Types of conditions.
const (
	WorkflowStuck   = "WorkflowStuck"
	NoWorker        = "NoWorker"
	QueueGrowing    = "QueueGrowing"
	WorkflowSlow    = "WorkflowSlow"
	WorkflowFailing = "WorkflowFailing"
)

// Reasons of conditions.
const (
	NotDeterministic = "not_deterministic"
	StepFails        = "step_fails"
	ActivityTimesOut = "activity_times_out"
	ActivityFails    = "activity_fails"
	ActivitySilent   = "activity_silent"
	NobodyPolls      = "nobody_polls"
	OnlyGrows        = "only_grows"
	SlowerThanUsual  = "slower_than_usual"
	FailsInSeries    = "fails_in_series"
	FailsTooOften    = "fails_too_often"
)

// Signs of code that does not do again what it did: a code of Temporal's SDKs
// (https://github.com/temporalio/rules), and the Python SDK's exception.
const (
	nondeterminismCode = "[TMPRL1100]"
	nondeterminismType = "NondeterminismError"
)

// mostText bounds what is quoted of an error, in characters.
const mostText = 200

// nameOf is the name by which people know a workflow type.
func nameOf(workflowType string) string {
	if tool, ok := agentenv.ToolOfWorkflow(workflowType); ok {
		return tool
	}
	return workflowType
}

// reasonOf is why a step failed, as its worker says.
func reasonOf(cause enumspb.WorkflowTaskFailedCause, why *failurepb.Failure) string {
	if cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR || strings.Contains(why.GetMessage(), nondeterminismCode) ||
		why.GetApplicationFailureInfo().GetType() == nondeterminismType {
		return NotDeterministic
	}
	return StepFails
}

// firstLine is the first line of an error, cut.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > mostText {
		return string(runes[:mostText]) + "…"
	}
	return line
}

func stepWords(s suspect, attempt int32) string {
	said := s.why
	if said == "" {
		said = "the worker gave no answer in time"
	}
	const tried = "The next step of its code has failed %s: %s. "
	if s.reason == NotDeterministic {
		return fmt.Sprintf(tried+"The code does not do again what the run has recorded. "+
			"Runs stay with their version, so cancel the run, or reset it to a point before the difference.", count(int64(attempt-1), "time"), said)
	}
	return fmt.Sprintf(tried+"Look into the app's log; deploy code that can do it for new runs, and cancel this one.", count(int64(attempt-1), "time"), said)
}

func activityWords(name, reason, said string, attempt int32, silent time.Duration) string {
	if reason == ActivitySilent {
		return fmt.Sprintf("Activity %s was begun and has given no sign of life for %s. "+
			"Give it a heartbeat timeout, so that it is tried again when its worker dies; or cancel the run.", name, silent.Round(time.Second))
	}
	what := "has failed"
	if reason == ActivityTimesOut {
		what = "was not done in time, or its worker died,"
	}
	if said != "" {
		said = " The last time: " + said + "."
	}
	return fmt.Sprintf("Activity %s %s %d times and is tried again.%s Look into the app's log for what it does; cancel the run if it cannot succeed.", name, what, attempt-1, said)
}

func queueWords(reason, queue, kind string, backlog int64, since time.Duration) string {
	if reason == NobodyPolls {
		return fmt.Sprintf("%s wait in queue %s, and no worker of the live version has asked for one for %s. "+
			"Look into the app's log for why its worker is away; deploy again when it does not come back.", count(backlog, kind), queue, since.Round(time.Second))
	}
	return fmt.Sprintf("%s wait in queue %s, and over the last %s it has only grown: the workers do not keep up. "+
		"Start fewer runs at once, or make their steps shorter.", count(backlog, kind), queue, since.Round(time.Second))
}

func count(n int64, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	return fmt.Sprintf("%d %ss", n, kind)
}

func slowWords(runs int, bound, usual time.Duration) string {
	return fmt.Sprintf("%s for more than %s without waiting for a person; of the last runs 95 %% were over within %s. "+
		"Look at what they do; cancel those that will not end.", strings.Replace(count(int64(runs), "run"), " run", " open run", 1)+has(runs)+" gone on", bound.Round(time.Second), usual.Round(time.Millisecond))
}

func has(n int) string {
	if n == 1 {
		return " has"
	}
	return " have"
}

func failingWords(reason string, failed, of int, window time.Duration) string {
	if reason == FailsInSeries {
		return fmt.Sprintf("The last %d runs on the live version have all failed. Look at the error of one; deploy what puts it right.", failed)
	}
	return fmt.Sprintf("%d of the %d runs on the live version that ended in the last %s have failed. Look at the errors; deploy what puts it right.", failed, of, window.Round(time.Second))
}
