package routes

import (
	"encoding/json"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/packed"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// record takes over what the scheduler says of the version. Of one that sleeps, all that
// is long is packed, and what is made of it is made anew for each who asks: there may be
// very many of those.
func (e *Endpoint) record(now *schedulerv1.Endpoint) *Endpoint {
	e.Endpoint = proto.CloneOf(now)
	e.Catalogue = func() *modern.Catalogue { return catalogue(e.whole()) }
	e.WorkflowsList = func() []byte {
		return ToolResult(json.RawMessage(e.GetWorkflowsJson()), e.Wrapped["workflows-list"])
	}
	if !now.GetAsleep() {
		e.Catalogue, e.WorkflowsList = sync.OnceValue(e.Catalogue), sync.OnceValue(e.WorkflowsList)
		return e
	}
	if p, err := packed.Pack(now); err == nil {
		e.packed = p
		for _, long := range []*string{
			&e.Endpoint.InitializeJson, &e.Endpoint.DiscoverJson, &e.Endpoint.ToolsJson, &e.Endpoint.PromptsJson,
			&e.Endpoint.ResourcesJson, &e.Endpoint.ResourceTemplatesJson, &e.Endpoint.WorkflowsJson,
		} {
			*long = ""
		}
	}
	return e
}

// whole is what the scheduler said.
func (e *Endpoint) whole() *schedulerv1.Endpoint {
	if e.packed == nil {
		return e.Endpoint
	}
	all := &schedulerv1.Endpoint{}
	_ = e.packed.Unpack(all) // it was packed here
	return all
}

// GetInitializeJson is the recorded result of initialize.
func (e *Endpoint) GetInitializeJson() string { return e.whole().GetInitializeJson() }

// GetDiscoverJson is the recorded result of server/discover.
func (e *Endpoint) GetDiscoverJson() string { return e.whole().GetDiscoverJson() }

// GetToolsJson is the recorded result of tools/list.
func (e *Endpoint) GetToolsJson() string { return e.whole().GetToolsJson() }

// GetPromptsJson is the recorded result of prompts/list.
func (e *Endpoint) GetPromptsJson() string { return e.whole().GetPromptsJson() }

// GetResourcesJson is the recorded result of resources/list.
func (e *Endpoint) GetResourcesJson() string { return e.whole().GetResourcesJson() }

// GetResourceTemplatesJson is the recorded result of resources/templates/list.
func (e *Endpoint) GetResourceTemplatesJson() string { return e.whole().GetResourceTemplatesJson() }

// GetWorkflowsJson is what workflows-list said.
func (e *Endpoint) GetWorkflowsJson() string { return e.whole().GetWorkflowsJson() }
