// Command fakemodel serves package fakemodel on an address, for demonstrations and
// for tests that are not written in Go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/fakemodel"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8089", "HOST:PORT; port 0 takes a free one")
	delay := flag.Duration("delay", 0, "how long each answer takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options := fakemodel.Options{Delay: *delay, Key: os.Getenv("FAKEMODEL_KEY")}
	if err := serve(ctx, *address, options); err != nil {
		fmt.Fprintln(os.Stderr, "fakemodel:", err)
		os.Exit(1)
	}
}

// serve prints the base URL that clients are given and serves until ctx ends.
func serve(ctx context.Context, address string, options fakemodel.Options) error {
	var config net.ListenConfig
	lis, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/v1\n", lis.Addr())
	server := &http.Server{Handler: fakemodel.New(options), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
