package scheduler

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Config is the room's settings.
type Config struct {
	// Temporal is where workflows are kept.
	Temporal TemporalConfig `koanf:"temporal"`
	// Edge is where agents' workers reach Temporal through this room.
	Edge EdgeConfig `koanf:"edge"`
	// CallbackURL is where agents phone home; the gateway serves it.
	CallbackURL string `koanf:"callback_url"`
	// Deploy bounds the steps of a deploy.
	Deploy DeployConfig `koanf:"deploy"`
	// Agents is what every agent gets.
	Agents AgentsConfig `koanf:"agents"`
	// Tools is how bodies of tools are run.
	Tools ToolsConfig `koanf:"tools"`
}

// TemporalConfig says where Temporal is.
type TemporalConfig struct {
	// Address is host:port of its frontend.
	Address string `koanf:"address"`
	// Retention is how long closed runs are kept.
	Retention time.Duration `koanf:"retention"`
}

// EdgeConfig is where agents' workers connect.
type EdgeConfig struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string `koanf:"listen"`
	// Advertise is the address that agents are told; empty: the one listened on.
	Advertise string `koanf:"advertise"`
}

// DeployConfig bounds the steps of a deploy.
type DeployConfig struct {
	// Build is how long one build may take.
	Build time.Duration `koanf:"build"`
	// Outage is how long a neighbour's absence is waited out.
	Outage time.Duration `koanf:"outage"`
	// Health is how long a version may take until it answers.
	Health time.Duration `koanf:"health"`
}

// AgentsConfig is what every agent gets.
type AgentsConfig struct {
	// MemoryMB bounds the memory of one process, MiB; 0: no bound.
	MemoryMB int64 `koanf:"memory_mb"`
	// CPUs bounds the processors of one process; 0: no bound.
	CPUs float64 `koanf:"cpus"`
	// Processes bounds processes and threads of one agent; 0: no bound.
	Processes int64 `koanf:"processes"`
	// RequireIsolation refuses to run agents without cgroup and namespaces.
	RequireIsolation bool `koanf:"require_isolation"`
	// Drain is how long an agent may finish what it does.
	Drain time.Duration `koanf:"drain"`
	// LogLevel is debug, info, warning or error.
	LogLevel string `koanf:"log_level"`
}

// ToolsConfig is how bodies of tools are run.
type ToolsConfig struct {
	// Timeout is how long one try may take.
	Timeout time.Duration `koanf:"timeout"`
	// Heartbeat is how long a dead agent goes unnoticed.
	Heartbeat time.Duration `koanf:"heartbeat"`
	// Errors is after how many errors of its own a tool is given up.
	Errors int `koanf:"errors"`
	// Tries is after how many tries, crashes of the agent included.
	Tries int `koanf:"tries"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		Temporal:    TemporalConfig{Address: "127.0.0.1:7233", Retention: 7 * 24 * time.Hour},
		Edge:        EdgeConfig{Listen: "127.0.0.1:0"},
		CallbackURL: "http://127.0.0.1:8080/agents",
		Deploy:      DeployConfig{Build: 15 * time.Minute, Outage: 10 * time.Minute, Health: 2 * time.Minute},
		Agents:      AgentsConfig{MemoryMB: 2048, Processes: 512, Drain: 20 * time.Second, LogLevel: "info"},
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
		"deploy.health": c.Deploy.Health, "agents.drain": c.Agents.Drain, "tools.timeout": c.Tools.Timeout, "tools.heartbeat": c.Tools.Heartbeat,
	} {
		if d < time.Second {
			errs = append(errs, fmt.Errorf("%s is %s; at least a second is needed", name, d))
		}
	}
	if c.Tools.Errors < 1 || c.Tools.Tries < c.Tools.Errors {
		errs = append(errs, fmt.Errorf("tools.errors is %d and tools.tries %d; use at least 1, and no fewer tries than errors", c.Tools.Errors, c.Tools.Tries))
	}
	return errors.Join(errs...)
}
