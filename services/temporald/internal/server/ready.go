package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const startLimit = 60 * time.Second

// Ready is what the ready file holds.
type Ready struct {
	// GRPC is the frontend's address.
	GRPC string `json:"grpc"`
	// UI is the Web UI's address; empty when there is none.
	UI string `json:"ui"`
	// PID is the server's process.
	PID int `json:"pid"`
}

// announce waits until the frontend serves and writes the ready file, whole or not at all.
func announce(ctx context.Context, cfg Config, ui string) error {
	if err := awaitFrontend(ctx, cfg.GRPC); err != nil {
		return err
	}
	if cfg.ReadyFile == "" {
		return nil
	}
	content, err := json.Marshal(Ready{GRPC: cfg.GRPC, UI: ui, PID: os.Getpid()})
	if err != nil {
		return err
	}
	temp := cfg.ReadyFile + ".new"
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, cfg.ReadyFile)
}

func awaitFrontend(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // read only
	client := healthv1.NewHealthClient(conn)
	ask := &healthv1.HealthCheckRequest{Service: "temporal.api.workflowservice.v1.WorkflowService"}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		res, err := client.Check(ctx, ask)
		if err == nil && res.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the frontend does not serve: %w", err)
		case <-ticker.C:
		}
	}
}
