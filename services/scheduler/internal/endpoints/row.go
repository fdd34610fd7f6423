package endpoints

import (
	"github.com/mcpagentcloud/agentcloud/pkg/packed"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// row is one endpoint. It is packed while its server sleeps: there may be very many of
// those, and they are read when a gateway comes.
type row struct {
	plain  *schedulerv1.Endpoint
	packed packed.Message
}

func newRow(e *schedulerv1.Endpoint) row {
	if e.GetAsleep() {
		if p, err := packed.Pack(e); err == nil {
			return row{packed: p}
		}
	}
	return row{plain: e}
}

// endpoint is nil where there is none. It must not be changed.
func (r row) endpoint() *schedulerv1.Endpoint {
	if r.packed == nil {
		return r.plain
	}
	e := &schedulerv1.Endpoint{}
	if r.packed.Unpack(e) != nil {
		return nil // it was packed here
	}
	return e
}
