package agentenv

// Launch is everything an agent process is told, written to FDLaunch. It
// carries secrets in the clear, so it is never put in a file, an argument, an
// environment variable or a log.
type Launch struct {
	Role       Role   `json:"role"`
	AppDir     string `json:"app_dir"`
	Entry      string `json:"entry"` // relative to AppDir; empty means main.py
	TargetID   string `json:"target_id"`
	AppID      string `json:"app_id"`
	OrgID      string `json:"org_id"`
	VersionID  string `json:"version_id"`
	InstanceID string `json:"instance_id"`
	AppName    string `json:"app_name"`

	// Settings is the whole of an mcp-agent settings file, secrets resolved.
	// The host overrides in it what a role demands (engine, temporal, logger).
	Settings map[string]any `json:"settings,omitempty"`
	// Env is exported to the user's code after the process has started, so
	// that /proc/<pid>/environ stays clean.
	Env map[string]string `json:"env,omitempty"`
	// Secrets are the values in Settings and Env by their handles, so that the host can
	// keep them out of what leaves the process.
	Secrets map[string]string `json:"secrets,omitempty"`

	Temporal *Temporal `json:"temporal"` // nil: tools are served over MCP only
	Gateway  Gateway   `json:"gateway"`
	Activity Activity  `json:"activity"`
	Slots    Slots     `json:"slots,omitzero"`
	// Retries say how steps and bodies of tools are tried, by patterns of their names.
	Retries []Retry `json:"retries,omitempty"`

	// StdioCommands says what to start instead of a `uvx X` or `npx X` of settings that the
	// code makes itself. The key is the server's name, or the package X itself.
	StdioCommands map[string]Command `json:"stdio_commands,omitempty"`
	// Sidecars are the stdio servers of Settings; nil: there are none.
	Sidecars *Sidecars `json:"sidecars,omitempty"`

	// Program is run in place of a Python app; nil for those.
	Program *Program `json:"program,omitempty"`

	DrainSeconds         int    `json:"drain_seconds,omitempty"`          // 0 means 20
	ImportTimeoutSeconds int    `json:"import_timeout_seconds,omitempty"` // 0 means 120
	LogLevel             string `json:"log_level,omitempty"`              // empty means info

	// Woken says that the version has served before: its server is ready once it answers
	// MCP, and polls Temporal a moment later.
	Woken bool `json:"woken,omitempty"`

	// Histories are runs of the past that the process replays, each answered by a
	// Status with StateReplayed: a RoleReplay does only that, a RoleWorker does it once
	// it polls.
	Histories []History `json:"histories,omitempty"`
}

// History is what happened in one run.
type History struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	Type       string `json:"type"`   // Temporal's workflow type
	Events     []byte `json:"events"` // a temporal.api.history.v1.History, payloads as the agent encoded them
}

// Temporal is where and as whom an agent process polls.
type Temporal struct {
	Address        string `json:"address"` // host:port, plain text
	Namespace      string `json:"namespace"`
	TaskQueue      string `json:"task_queue"`
	ToolsQueue     string `json:"tools_queue"`
	APIKey         string `json:"api_key,omitempty"` // bearer that identifies this instance
	DeploymentName string `json:"deployment_name,omitempty"`
	BuildID        string `json:"build_id,omitempty"`
	Identity       string `json:"identity,omitempty"` // unique among pollers; empty means pid@host
}

// Gateway is where an agent process phones home.
type Gateway struct {
	URL   string `json:"url,omitempty"`
	Token string `json:"token,omitempty"`
}

// Activity is how long one step of a run may take. Zero fields mean the host's
// defaults, which are in the comments.
type Activity struct {
	StartToCloseSeconds float64 `json:"start_to_close_seconds,omitempty"` // 600; waits for people do not count
	HeartbeatSeconds    float64 `json:"heartbeat_seconds,omitempty"`      // 30
	MaxErrorAttempts    int     `json:"max_error_attempts,omitempty"`     // 3; killed workers do not count
}

// Slots are how much one process works on at once. Zero fields mean the host's defaults,
// which are in the comments.
type Slots struct {
	Workflows int `json:"workflows,omitempty"` // 3 of runs that begin, 3 of others; not counting what takes over a second, to 50
	Steps     int `json:"steps,omitempty"`     // temporal.max_concurrent_activities of the settings, else 100
	Tools     int `json:"tools,omitempty"`     // 100
}

// Retry says how the activities that its pattern fits are tried. Zero fields say nothing.
type Retry struct {
	// Pattern is a whole name, the end of a name from a dot on, a beginning followed by
	// "*", or "*". Tools fit with and without "tool:" before their name.
	Pattern string `json:"pattern"`
	// FromSettings says that the agents' own SDK applies it to steps already.
	FromSettings bool `json:"from_settings,omitempty"`

	StartToCloseSeconds    float64 `json:"start_to_close_seconds,omitempty"`    // of one try
	ScheduleToCloseSeconds float64 `json:"schedule_to_close_seconds,omitempty"` // of all tries, waits included
	HeartbeatSeconds       float64 `json:"heartbeat_seconds,omitempty"`
	// MaxAttempts may end by an error; killed processes do not count, but for 1: never twice.
	MaxAttempts            int      `json:"max_attempts,omitempty"`
	InitialIntervalSeconds float64  `json:"initial_interval_seconds,omitempty"`
	MaxIntervalSeconds     float64  `json:"max_interval_seconds,omitempty"`
	Backoff                float64  `json:"backoff,omitempty"`
	NonRetryable           []string `json:"non_retryable,omitempty"` // types of errors
}

// Command starts a stdio MCP server that was installed when the app was built.
type Command struct {
	Command string            `json:"command"` // absolute path
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}
