package deployments

import (
	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// program is what is started in place of a Python app; nil for those.
func program(a *builderv1.Artifact) *agentenv.Program {
	p := a.GetProgram()
	if p == nil {
		return nil
	}
	transport := agentenv.TransportStdio
	if p.GetTransport() == builderv1.Transport_TRANSPORT_HTTP {
		transport = agentenv.TransportHTTP
	}
	out := &agentenv.Program{
		Kind: agentenv.Kind(p.GetKind()), Args: p.GetArgs(), Env: p.GetEnv(), Path: p.GetPath(),
		Transport: transport, HTTPPath: p.GetHttpPath(), Sessions: int(p.GetSessions()),
	}
	if image := p.GetImage(); image != nil {
		out.Image = &agentenv.Image{
			Runc: image.GetRunc(), Rootfs: image.GetRootfs(), Folder: image.GetFolder(), UID: image.GetUid(), GID: image.GetGid(),
		}
	}
	if w := p.GetWorker(); w != nil {
		out.Worker = &agentenv.Worker{Node: w.GetNode(), Bundle: w.GetBundle(), Activities: w.GetActivities(), Workflows: workflowNames(w)}
	}
	return out
}
