package allinone

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// temporalService is the name under which Temporal's frontend tells its health.
const temporalService = "temporal.api.workflowservice.v1.WorkflowService"

// temporal is the Temporal server as a child.
func (c *cloud) temporal() part {
	return part{name: "temporal", run: func(ctx context.Context) error {
		binary, err := localcloud.Find("temporald", "AGENTCLOUD_TEMPORALD")
		if err != nil {
			return err
		}
		args := []string{"-db", c.folder.path("temporal", "temporal.db"), "-grpc", c.ports.Temporal}
		if c.ports.TemporalUI != "" {
			args = append(args, "-http-ui", c.ports.TemporalUI)
		}
		child := child{name: "temporald", path: binary, args: args, out: c.folder.logFile("temporal"), log: c.log}
		return child.supervise(ctx)
	}}
}

// checkTemporal asks the frontend.
func (c *cloud) checkTemporal(ctx context.Context) error {
	return checkHealth(ctx, c.ports.Temporal, temporalService)
}

func checkHealth(ctx context.Context, target, service string) error {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // read only
	res, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	if res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it says %s", res.GetStatus())
	}
	return nil
}
