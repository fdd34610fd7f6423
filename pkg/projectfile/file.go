package projectfile

import (
	"bytes"
	"encoding/json"
	"time"
)

// File is what agentcloud.yaml says. A section is a field here and a property of the
// schema.
type File struct {
	// Kind is what sort of server the project is; empty: what its files look like.
	Kind Kind `json:"kind,omitempty"`
	// Node is how a server in JavaScript or TypeScript is built and started.
	Node *Node `json:"node,omitempty"`
	// Command is how any other program is started.
	Command *Command `json:"command,omitempty"`
	// Image is the OCI image that is run.
	Image *Image `json:"image,omitempty"`
	// Schedules that a deploy keeps, by name.
	Schedules map[string]Schedule `json:"schedules,omitempty"`
	// Deploy is what deploys do.
	Deploy Deploy `json:"deploy,omitzero"`
	// Smoke are calls that a version must answer before it may go live.
	Smoke []Smoke `json:"smoke,omitempty"`
	// Scale is how many processes there are.
	Scale Scale `json:"scale,omitzero"`
	// Runs is how runs of workflows and tools begin, by name.
	Runs map[string]Run `json:"runs,omitempty"`
	// Retries is how activities are tried, by pattern of their name.
	Retries map[string]Retry `json:"retries,omitempty"`
	// Sidecars is how the stdio servers of the settings are run, by name.
	Sidecars map[string]Sidecar `json:"sidecars,omitempty"`
}

// Sidecar is how a stdio server is run; what is 0 is not said.
type Sidecar struct {
	// Shared says whether the processes of a version have one of it, or each connection
	// its own; nil: one.
	Shared    *bool   `json:"shared,omitempty"`
	MemoryMB  int64   `json:"memory_mb,omitempty"`
	CPUs      float64 `json:"cpus,omitempty"`
	Processes int64   `json:"processes,omitempty"`
}

// Deploy is what deploys of the project do.
type Deploy struct {
	// Replay is what becomes of a deploy on whose code past runs would take other steps:
	// "off", "warn", "pin" or "refuse"; empty: what the cloud does with any project.
	Replay string `json:"replay,omitempty"`
	// Promote is who makes a version live: the deploy itself ("auto", also when empty), or
	// a person ("manual").
	Promote string `json:"promote,omitempty"`
	// ChangedTools is what becomes of a deploy that defines tools in another way under the
	// same names: "allow", "warn" (also when empty) or "ask".
	ChangedTools string `json:"changed_tools,omitempty"`
	// Rollout is how a version is tried before it becomes live; nil: it is not.
	Rollout *Rollout `json:"rollout,omitempty"`
}

// Smoke is a call of a tool, and what must come of it.
type Smoke struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Expect    Expect          `json:"expect,omitzero"`
	// Timeout is a span; empty: 30 seconds.
	Timeout string `json:"timeout,omitempty"`
}

// Expect is what an answer must be; what is empty is not asked for.
type Expect struct {
	Contains string          `json:"contains,omitempty"`
	Equals   json.RawMessage `json:"equals,omitempty"`
	// Path is the part of the structured answer that must equal; empty: its text must.
	Path    string `json:"path,omitempty"`
	IsError bool   `json:"is_error,omitempty"`
}

// Run is how runs of one workflow or tool begin.
type Run struct {
	// Priority of runs whose caller says none, 1 to 5; 0: not said.
	Priority int32 `json:"priority,omitempty"`
}

// Retry is how activities are tried. Times are spans such as 1h30m; what is empty or 0
// is not said.
type Retry struct {
	StartToClose    string   `json:"start_to_close,omitempty"`
	ScheduleToClose string   `json:"schedule_to_close,omitempty"`
	Heartbeat       string   `json:"heartbeat,omitempty"`
	MaxAttempts     int      `json:"max_attempts,omitempty"`
	InitialInterval string   `json:"initial_interval,omitempty"`
	MaxInterval     string   `json:"max_interval,omitempty"`
	Backoff         float64  `json:"backoff,omitempty"`
	NonRetryable    []string `json:"non_retryable,omitempty"`
}

// Schedule is when a workflow or tool of the app is run, and what happens when that
// does not go as planned.
type Schedule struct {
	Workflow  string          `json:"workflow"`
	Arguments json.RawMessage `json:"arguments,omitempty"`

	Cron     Some[string]   `json:"cron,omitempty"`
	Interval Some[Interval] `json:"interval,omitempty"`
	Calendar Some[Calendar] `json:"calendar,omitempty"`
	Except   []Calendar     `json:"except,omitempty"`
	TimeZone string         `json:"time_zone,omitempty"`
	Jitter   string         `json:"jitter,omitempty"`
	Start    time.Time      `json:"start,omitzero"`
	End      time.Time      `json:"end,omitzero"`

	// Overlap is one of the schema's names; empty: skip.
	Overlap        string `json:"overlap,omitempty"`
	Catchup        string `json:"catchup,omitempty"`
	PauseOnFailure bool   `json:"pause_on_failure,omitempty"`
	Limit          int64  `json:"limit,omitempty"`
	// Priority of its runs, 1 to 5; 0: not said.
	Priority int32  `json:"priority,omitempty"`
	Paused   bool   `json:"paused,omitempty"`
	Note     string `json:"note,omitempty"`
}

// Interval is due each Every, moved by Offset; both are spans such as 1h30m.
type Interval struct {
	Every  string `json:"every"`
	Offset string `json:"offset,omitempty"`
}

// UnmarshalJSON also reads a span alone.
func (i *Interval) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &i.Every) == nil {
		return nil
	}
	type plain Interval
	return json.Unmarshal(text, (*plain)(i))
}

// Calendar is due when all its fields match.
type Calendar struct {
	Second     Field `json:"second,omitempty"`
	Minute     Field `json:"minute,omitempty"`
	Hour       Field `json:"hour,omitempty"`
	DayOfMonth Field `json:"day_of_month,omitempty"`
	Month      Field `json:"month,omitempty"`
	Year       Field `json:"year,omitempty"`
	DayOfWeek  Field `json:"day_of_week,omitempty"`
}

// Field is a field of a calendar: text or a number.
type Field string

// UnmarshalJSON takes numbers as they are written.
func (f *Field) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] != '"' {
		*f = Field(text)
		return nil
	}
	return json.Unmarshal(text, (*string)(f))
}

// Some is one T or a list of them.
type Some[T any] []T

// UnmarshalJSON reads either.
func (s *Some[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return json.Unmarshal(text, (*[]T)(s))
	}
	var one T
	if err := json.Unmarshal(text, &one); err != nil {
		return err
	}
	*s = []T{one}
	return nil
}

// Decode reads what Document.JSON holds; empty text is an empty file.
func Decode(text string) (File, error) {
	var f File
	if text == "" {
		return f, nil
	}
	return f, json.Unmarshal([]byte(text), &f)
}
