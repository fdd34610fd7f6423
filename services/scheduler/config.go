package scheduler

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
)

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
	// Tools is how bodies of tools are run.
	Tools ToolsConfig `koanf:"tools"`
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
	KeepVersions int           `koanf:"keep_versions" help:"how many of an app's newest versions stay, besides those that run, so that a return to one needs no upload"`
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
}

// ToolsConfig is how bodies of tools are run.
type ToolsConfig struct {
	Timeout   time.Duration `koanf:"timeout" help:"how long one try of a tool's body, or of a step of a workflow, may take"`
	Heartbeat time.Duration `koanf:"heartbeat" help:"how long a dead agent goes unnoticed"`
	Errors    int           `koanf:"errors" help:"after how many errors of its own a step of a workflow is given up"`
	Tries     int           `koanf:"tries" help:"after how many tries of a tool's body a run is given up, crashes of the agent included"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		Temporal:    TemporalConfig{Address: "127.0.0.1:7233", Retention: 7 * 24 * time.Hour},
		Edge:        EdgeConfig{Listen: "127.0.0.1:0"},
		CallbackURL: "http://127.0.0.1:8080/agents",
		Deploy:      DeployConfig{Build: 15 * time.Minute, Outage: 10 * time.Minute, Health: 2 * time.Minute, Garbage: time.Hour, KeepVersions: 10, RemoteAddresses: agentclient.AnyAddress},
		Agents:      AgentsConfig{MemoryMB: 2048, Processes: 512, Drain: 12 * time.Second, LogLevel: "info"},
		Tools:       ToolsConfig{Timeout: 10 * time.Minute, Heartbeat: 30 * time.Second, Errors: 3, Tries: 30},
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
		"deploy.health": c.Deploy.Health, "deploy.garbage": c.Deploy.Garbage, "agents.drain": c.Agents.Drain, "tools.timeout": c.Tools.Timeout, "tools.heartbeat": c.Tools.Heartbeat,
	} {
		if d < time.Second {
			errs = append(errs, fmt.Errorf("%s is %s; at least a second is needed", name, d))
		}
	}
	if c.Deploy.KeepVersions < 1 {
		errs = append(errs, fmt.Errorf("deploy.keep_versions is %d; at least one must stay", c.Deploy.KeepVersions))
	}
	if a := c.Deploy.RemoteAddresses; a != agentclient.AnyAddress && a != agentclient.PublicAddress {
		errs = append(errs, fmt.Errorf("deploy.remote_addresses is %q; use any or public", a))
	}
	if c.Tools.Errors < 1 || c.Tools.Tries < c.Tools.Errors {
		errs = append(errs, fmt.Errorf("tools.errors is %d and tools.tries %d; use at least 1, and no fewer tries than errors", c.Tools.Errors, c.Tools.Tries))
	}
	return errors.Join(errs...)
}
