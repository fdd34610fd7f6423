package scheduler

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// Temporal refuses values over 2 MB, and a step may bring several; a claim itself has
// about 200 bytes.
const minInline, maxInline = 1 << 10, 1 << 20

// Config is the room's settings.
type Config struct {
	// Temporal is where workflows are kept.
	Temporal TemporalConfig `koanf:"temporal"`
	// Edge is where agents' workers reach Temporal through this room.
	Edge        EdgeConfig `koanf:"edge"`
	CallbackURL string     `koanf:"callback_url" help:"where agents phone home; the gateway serves it (edge.callbacks there)"`
	// Deploy bounds the steps of a deploy.
	Deploy DeployConfig `koanf:"deploy"`
	// Agents is what every agent gets.
	Agents AgentsConfig `koanf:"agents"`
	// Zygotes are what agents are forked from.
	Zygotes ZygotesConfig `koanf:"zygotes"`
	// Tools is how bodies of tools are run.
	Tools ToolsConfig `koanf:"tools"`
	// Batches bounds batches.
	Batches BatchesConfig `koanf:"batches"`
	// Payloads says where large arguments and results are.
	Payloads PayloadsConfig `koanf:"payloads"`
	// Questions is how long runs wait to be told.
	Questions QuestionsConfig `koanf:"questions"`
	// Cancel is how runs end that were asked to.
	Cancel CancelConfig `koanf:"cancel"`
	// Sleep is when agents sleep.
	Sleep SleepConfig `koanf:"sleep"`
	// Scale is how many processes agents have.
	Scale ScaleConfig `koanf:"scale"`
	// Health is when workflows count as unwell.
	Health HealthConfig `koanf:"health"`
}

// TemporalConfig says where Temporal is.
type TemporalConfig struct {
	Address   string        `koanf:"address" help:"HOST:PORT of Temporal's frontend"`
	Retention time.Duration `koanf:"retention" help:"how long closed runs are kept"`
}

// EdgeConfig is where agents' workers connect.
type EdgeConfig struct {
	Listen    string `koanf:"listen" help:"HOST:PORT where agents' workers connect; port 0 takes a free one"`
	Advertise string `koanf:"advertise" help:"the address that agents are told; empty: the one listened on"`
}

// DeployConfig bounds the steps of a deploy.
type DeployConfig struct {
	Build        time.Duration `koanf:"build" help:"how long one build may take"`
	Outage       time.Duration `koanf:"outage" help:"how long a neighbour's absence is waited out"`
	Health       time.Duration `koanf:"health" help:"how long a version may take until it answers"`
	Garbage      time.Duration `koanf:"garbage" help:"how often what no version needs is deleted"`
	KeepVersions int           `koanf:"keep_versions" help:"how many of an app's newest versions stay, besides those that run or that a run is pinned to; older ones are deleted"`
	KeepWarm     time.Duration `koanf:"keep_warm" help:"how long the version that was live before stays up, so that a rollback is at once; 0: not at all"`
	Replay       string        `koanf:"replay" help:"what becomes of a deploy on whose code past runs would take other steps: warn, pin or refuse; off: none is replayed"`
	ReplayRuns   int           `koanf:"replay_runs" help:"how many of an app's last closed runs are replayed before a version goes live"`
	ReplayWithin time.Duration `koanf:"replay_within" help:"how long a deploy waits for them"`
	// RemoteAddresses is checked where a connection is made.
	RemoteAddresses string `koanf:"remote_addresses" help:"addresses of servers that may be connected: any, or public; link-local ones never are"`
}

// AgentsConfig is what every agent gets.
type AgentsConfig struct {
	MemoryMB         int64         `koanf:"memory_mb" help:"MiB of memory of one agent process with its children; 0: no bound"`
	CPUs             float64       `koanf:"cpus" help:"processors of one agent process with its children; 0: no bound"`
	Processes        int64         `koanf:"processes" help:"processes and threads of one agent process with its children; 0: no bound"`
	RequireIsolation bool          `koanf:"require_isolation" help:"refuse to run agents on a machine without cgroups and namespaces"`
	Drain            time.Duration `koanf:"drain" help:"how long an agent may finish what it does; with the 7 s until it is killed within service.drain"`
	LogLevel         string        `koanf:"log_level" help:"of the agents: debug, info, warning or error"`
	// Sidecars is what the stdio servers beside them get.
	Sidecars SidecarsConfig `koanf:"sidecars"`
}

// ToolsConfig is how bodies of tools are run.
type ToolsConfig struct {
	Timeout   time.Duration `koanf:"timeout" help:"how long one try of a tool's body, or of a step of a workflow, may take; the time for which it waits for a person does not count"`
	Heartbeat time.Duration `koanf:"heartbeat" help:"how long a dead agent goes unnoticed"`
	Errors    int           `koanf:"errors" help:"after how many errors of its own a step of a workflow is given up"`
	Tries     int           `koanf:"tries" help:"after how many tries of a tool's body a run is given up, crashes of the agent included"`
	AtOnce    int           `koanf:"at_once" help:"how many moves of tools' runs this process makes at once, of all organisations together"`
	// Weights are by id of the organisation.
	Weights map[string]float64 `koanf:"weights" help:"ORG=WEIGHT,…: organisations' shares of at_once while more wait; others have 1"`
}

// BatchesConfig bounds batches.
type BatchesConfig struct {
	Items       int64 `koanf:"items" help:"inputs of one batch, at most"`
	MiB         int64 `koanf:"mib" help:"MiB of the inputs of one batch, at most"`
	Open        int   `koanf:"open" help:"batches of an organisation that have not ended, at most"`
	Concurrency int   `koanf:"concurrency" help:"open runs of one batch, at most"`
	Runs        int   `koanf:"runs" help:"open runs of all batches together, at most; each is one long poll at Temporal"`
}

// PayloadsConfig says where large arguments and results are.
type PayloadsConfig struct {
	Store  string `koanf:"store" help:"where large arguments and results are kept: file:///FOLDER or s3://BUCKET?region=…; empty: in the data folder"`
	Inline int    `koanf:"inline" help:"bytes of an argument or result that stay in the run's history; larger ones are kept in the store"`
}

// check names the bounds that allow nothing.
func (c BatchesConfig) check() []error {
	var errs []error
	for name, n := range map[string]int64{
		"items": c.Items, "mib": c.MiB, "open": int64(c.Open), "concurrency": int64(c.Concurrency), "runs": int64(c.Runs),
	} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("batches.%s is %d; at least 1 is needed", name, n))
		}
	}
	return errs
}

// QuestionsConfig is how long runs wait to be told.
type QuestionsConfig struct {
	Deadline time.Duration `koanf:"deadline" help:"how long a question may stay open that says nothing of it; 0: as long as its run"`
}

// CancelConfig is how runs end that were asked to.
type CancelConfig struct {
	Grace   time.Duration `koanf:"grace" help:"how long a run that was asked to end may do nothing new before it is ended by force"`
	Longest time.Duration `koanf:"longest" help:"how long it may clean up in all"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		Temporal:    TemporalConfig{Address: "127.0.0.1:7233", Retention: 7 * 24 * time.Hour},
		Edge:        EdgeConfig{Listen: "127.0.0.1:0"},
		CallbackURL: "http://127.0.0.1:8080/agents",
		Deploy:      DeployConfig{Build: 15 * time.Minute, Outage: 10 * time.Minute, Health: 2 * time.Minute, Garbage: time.Hour, KeepVersions: 10, KeepWarm: time.Hour, Replay: deployments.ReplayWarn, ReplayRuns: 10, ReplayWithin: 30 * time.Second, RemoteAddresses: agentclient.AnyAddress},
		Agents:      AgentsConfig{MemoryMB: 2048, Processes: 512, Drain: 12 * time.Second, LogLevel: "info", Sidecars: sidecarDefaults()},
		Zygotes:     zygoteDefaults(),
		Tools:       ToolsConfig{Timeout: 10 * time.Minute, Heartbeat: 30 * time.Second, Errors: 3, Tries: 30, AtOnce: 16},
		Batches:     BatchesConfig{Items: 100_000, MiB: 64, Open: 20, Concurrency: 200, Runs: 500},
		Payloads:    PayloadsConfig{Inline: 128 << 10},
		Cancel:      CancelConfig{Grace: 5 * time.Second, Longest: time.Minute},
		Sleep:       SleepConfig{After: 15 * time.Minute, Lead: time.Minute},
		Scale:       ScaleConfig{Max: 8, Down: 5 * time.Minute},
		Health:      healthDefaults(),
	}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	var errs []error
	for name, address := range map[string]string{"temporal.address": c.Temporal.Address, "edge.listen": c.Edge.Listen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("%s is %q; write host:port", name, address))
		}
	}
	if u, err := url.Parse(c.CallbackURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, fmt.Errorf("callback_url is %q; write the http address of the gateway that agents reach", c.CallbackURL))
	}
	for name, d := range map[string]time.Duration{
		"temporal.retention": c.Temporal.Retention, "deploy.build": c.Deploy.Build, "deploy.outage": c.Deploy.Outage,
		"deploy.health": c.Deploy.Health, "deploy.garbage": c.Deploy.Garbage, "deploy.replay_within": c.Deploy.ReplayWithin, "agents.drain": c.Agents.Drain, "tools.timeout": c.Tools.Timeout, "tools.heartbeat": c.Tools.Heartbeat,
		"cancel.grace": c.Cancel.Grace, "cancel.longest": c.Cancel.Longest,
	} {
		if d < time.Second {
			errs = append(errs, fmt.Errorf("%s is %s; at least a second is needed", name, d))
		}
	}
	if c.Questions.Deadline < 0 {
		errs = append(errs, fmt.Errorf("questions.deadline is %s; use 0 for none", c.Questions.Deadline))
	}
	if c.Cancel.Longest < c.Cancel.Grace || c.Cancel.Longest > time.Hour {
		errs = append(errs, fmt.Errorf("cancel.longest is %s; use at least cancel.grace (%s), at most an hour", c.Cancel.Longest, c.Cancel.Grace))
	}
	if c.Deploy.KeepVersions < 1 {
		errs = append(errs, fmt.Errorf("deploy.keep_versions is %d; at least one must stay", c.Deploy.KeepVersions))
	}
	if c.Deploy.KeepWarm < 0 {
		errs = append(errs, fmt.Errorf("deploy.keep_warm is %s; use 0 for none", c.Deploy.KeepWarm))
	}
	if a := c.Deploy.RemoteAddresses; a != agentclient.AnyAddress && a != agentclient.PublicAddress {
		errs = append(errs, fmt.Errorf("deploy.remote_addresses is %q; use any or public", a))
	}
	if n := c.Payloads.Inline; n < minInline || n > maxInline {
		errs = append(errs, fmt.Errorf("payloads.inline is %d; use %d to %d", n, minInline, maxInline))
	}
	errs = append(errs, c.Deploy.validateReplay(), c.Tools.check(), c.Health.validate(), c.Zygotes.check(), c.Agents.Sidecars.check(), c.Sleep.validate(), c.Scale.validate())
	return errors.Join(append(errs, c.Batches.check()...)...)
}

// check says what is wrong with the numbers.
func (c ToolsConfig) check() error {
	var errs []error
	if c.Errors < 1 || c.Tries < c.Errors {
		errs = append(errs, fmt.Errorf("tools.errors is %d and tools.tries %d; use at least 1, and no fewer tries than errors", c.Errors, c.Tries))
	}
	if c.AtOnce < 1 {
		errs = append(errs, fmt.Errorf("tools.at_once is %d; at least one is needed", c.AtOnce))
	}
	for org, weight := range c.Weights {
		if !id.Org.Valid(org) || !(weight > 0) {
			errs = append(errs, fmt.Errorf("tools.weights has %s=%g; write an organisation's id and a number above 0", org, weight))
		}
	}
	return errors.Join(errs...)
}

// mostReplayRuns bounds what a deploy keeps in memory.
const mostReplayRuns = 100

func (c DeployConfig) validateReplay() error {
	policies := []string{deployments.ReplayOff, deployments.ReplayWarn, deployments.ReplayPin, deployments.ReplayRefuse}
	switch {
	case !slices.Contains(policies, c.Replay):
		return fmt.Errorf("deploy.replay is %q; use one of %s", c.Replay, strings.Join(policies, ", "))
	case c.ReplayRuns < 1 || c.ReplayRuns > mostReplayRuns:
		return fmt.Errorf("deploy.replay_runs is %d; use 1 to %d, or deploy.replay=off", c.ReplayRuns, mostReplayRuns)
	}
	return nil
}
