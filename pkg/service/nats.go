package service

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

func natsOptions(common Settings) ([]nats.Option, error) {
	if common.NATSCredentials != "" {
		return []nats.Option{nats.UserCredentials(common.NATSCredentials)}, nil
	}
	if common.NATSTokenFile == "" {
		return nil, nil
	}
	token, err := os.ReadFile(common.NATSTokenFile)
	if err != nil {
		return nil, fmt.Errorf("service.nats_token_file: %w", err)
	}
	return []nats.Option{nats.Token(strings.TrimSpace(string(token)))}, nil
}
