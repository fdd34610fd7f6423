package limits

import (
	"math"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/text"
)

const (
	// together is all callers as one.
	together = "*"
	maxTool  = 200

	// leastRate is about one call in three hours.
	leastRate = 0.0001
	most      = 1_000_000
)

// check says what is wrong with a limit, as far as it can be seen in itself.
func check(req *registryv1.PutLimitRequest) error {
	if app := req.GetAppId(); app != "" && !id.App.Valid(app) {
		return fault.NotFound.Errorf("no such app: appId is %s_ and more, as `mcp-agent cloud servers list` shows it", id.App)
	}
	if err := text.Line("a tool's name", req.GetTool(), maxTool); err != nil {
		return err
	}
	return checkNumbers(req.GetCallsPerSecond(), req.GetBurst(), req.GetConcurrent())
}

func checkNumbers(rate float64, burst, concurrent int32) error {
	switch {
	case math.IsNaN(rate) || rate < 0 || burst < 0 || concurrent < 0:
		return fault.Invalid.Errorf("callsPerSecond, burst and concurrent may not be negative; 0 means any")
	case rate == 0 && burst > 0:
		return fault.Invalid.Errorf("a burst needs callsPerSecond beside it")
	case rate == 0 && concurrent == 0:
		return fault.Invalid.Errorf("say what the limit is: callsPerSecond, concurrent, or both")
	case rate > 0 && rate < leastRate || rate > most:
		return fault.Invalid.Errorf("callsPerSecond is between %g and %d", leastRate, most)
	case burst > most || concurrent > most:
		return fault.Invalid.Errorf("burst and concurrent are at most %d", most)
	}
	return nil
}
