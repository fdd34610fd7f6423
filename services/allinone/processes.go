package allinone

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// processes are the rooms as programs of their own, each started again when it dies.
func (c *cloud) processes(set map[string][]string) (map[string]part, error) {
	parts := map[string]part{}
	for _, name := range roomNames {
		binary, err := localcloud.Find(name, "")
		if err != nil {
			return nil, err
		}
		child := child{name: name, path: binary, args: c.arguments(name, set[name]), out: c.folder.logFile(name), log: c.log}
		parts[name] = part{name: name, run: func(ctx context.Context) error { return child.supervise(ctx) }}
	}
	return parts, nil
}

func (c *cloud) arguments(name string, set []string) []string {
	all := []string{
		"service.mesh_dir=" + c.folder.run, "service.data_dir=" + c.folder.path(name),
		"service.nats=nats://" + c.ports.NATS, "service.nats_token_file=" + c.tokenFile(), "service.log_level=" + c.cfg.LogLevel,
	}
	for _, entry := range set {
		all = append(all, "room."+entry)
	}
	var args []string
	for _, entry := range all {
		args = append(args, "--set", entry)
	}
	return args
}
