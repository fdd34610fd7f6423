package edge

import (
	"log/slog"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
)

// Config bounds what callers of apps may do.
type Config struct {
	AppHost           string        `koanf:"app_host" help:"where apps with a port each listen; a loopback address"`
	Callbacks         string        `koanf:"callbacks" help:"HOST:PORT where agents' workers phone home"`
	MaxBody           int64         `koanf:"max_body" help:"bytes of one message from a client"`
	HeaderWait        time.Duration `koanf:"header_wait" help:"how long a client may take for the head of a request"`
	BodyWait          time.Duration `koanf:"body_wait" help:"how long a client may take for one message"`
	ReadyWait         time.Duration `koanf:"ready_wait" help:"how long a call waits for an agent that is starting"`
	WakeWaiters       int           `koanf:"wake_waiters" help:"how many calls may wait for one agent to wake; others are told to come again"`
	SessionIdle       time.Duration `koanf:"session_idle" help:"how long a session without a stream is kept"`
	Sessions          int           `koanf:"sessions" help:"sessions of this process"`
	SessionsPerCaller int           `koanf:"sessions_per_caller" help:"sessions of one user on one app"`
	KeepAlive         time.Duration `koanf:"keep_alive" help:"how often a quiet stream shows a sign of life"`
	Outcomes          time.Duration `koanf:"outcomes" help:"how often the scheduler is told how calls of a rollout's versions end"`
	QuestionWait      time.Duration `koanf:"question_wait" help:"how long a call of the agent's own code that has asked its client waits for the answer"`
	Limits            LimitDefaults `koanf:"limits"`
	SealKeys          string        `koanf:"seal_keys" help:"file of base64 keys of 32 bytes, the newest first, that seal task ids and call states; replicas share it. Empty: one is made in the room's folder"`
}

// Defaults are the bounds of one process.
func Defaults() Config {
	return Config{
		AppHost: "127.0.0.1", Callbacks: "127.0.0.1:8091", MaxBody: 20 << 20, HeaderWait: 10 * time.Second, BodyWait: 30 * time.Second, ReadyWait: 30 * time.Second, WakeWaiters: 1_000,
		SessionIdle: 30 * time.Minute, Sessions: 20_000, SessionsPerCaller: 1_000, KeepAlive: 15 * time.Second, QuestionWait: time.Hour, Outcomes: time.Second,
		Limits: LimitDefaults{Concurrent: 5_000},
	}
}

// Deps is everything an Edge needs from outside.
type Deps struct {
	Log       *slog.Logger
	Auth      Authenticator
	Bus       *bus.Bus
	Registry  registryv1.AppsServiceClient
	Limits    registryv1.LimitsServiceClient
	Scheduler schedulerv1.DeploymentsServiceClient
	Runs      schedulerv1.RunsServiceClient
	Calls     schedulerv1.CallsServiceClient
	Sleep     schedulerv1.SleepServiceClient
	Outcomes  schedulerv1.RolloutOutcomesServiceClient
	Telemetry telemetryv1.LogsServiceClient
	Seal      *seal.Ring
	Config    Config
}
