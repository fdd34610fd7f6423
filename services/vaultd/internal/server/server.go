// Package server runs one Vault core behind HTTP. It sets up no mounts, policies or
// roles: that is the operator's, as with any Vault.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/vault"
)

const (
	readLimit = 10 * time.Second
	stopLimit = 10 * time.Second
)

// Config says where the server listens and keeps what it knows.
type Config struct {
	Listen, Data, ReadyFile, LogLevel string
}

// Ready is what the ready file holds.
type Ready struct {
	Address   string `json:"address"`
	RootToken string `json:"root_token"`
}

// Run serves until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	log := hclog.New(&hclog.LoggerOptions{Name: "vaultd", Level: hclog.LevelFromString(cfg.LogLevel), Output: os.Stderr})
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	core, err := newCore(cfg, "http://"+listener.Addr().String(), log)
	if err != nil {
		return err
	}
	keys, err := open(ctx, core, cfg.Data)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{Address: cfg.Listen}})
	web := &http.Server{Handler: handler, ReadHeaderTimeout: readLimit}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	if err := announce(cfg.ReadyFile, Ready{Address: "http://" + listener.Addr().String(), RootToken: keys.RootToken}); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return errors.Join(web.Shutdown(ctx), core.Shutdown())
}

func announce(file string, ready Ready) error {
	if file == "" {
		fmt.Println("vaultd serves at", ready.Address)
		return nil
	}
	return writeJSON(file, ready)
}

// writeJSON puts a file in place whole or not at all, for the user alone.
func writeJSON(file string, value any) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
