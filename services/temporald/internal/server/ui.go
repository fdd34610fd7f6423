package server

import (
	"fmt"
	"os"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

// ui is the running Web UI, if any.
type ui struct {
	address string
	server  *uiserver.Server
}

func startUI(cfg Config) (ui, error) {
	if cfg.UI == "" {
		return ui{}, nil
	}
	address, err := withPort(cfg.UI)
	if err != nil {
		return ui{}, err
	}
	host, port, err := split(address)
	if err != nil {
		return ui{}, err
	}
	settings := &uiconfig.Config{
		TemporalGRPCAddress: cfg.GRPC, Host: host, Port: port, EnableUI: true, HideLogs: true, DisableNewsFetch: true,
	}
	server := uiserver.NewServer(server_options.WithConfigProvider(settings))
	go func() {
		if err := server.Start(); err != nil {
			fmt.Fprintf(os.Stderr, "temporald: Web UI at %s: %v\n", address, err)
		}
	}()
	return ui{address: address, server: server}, nil
}

func (u ui) stop() {
	if u.server != nil {
		u.server.Stop()
	}
}
