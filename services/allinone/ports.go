package allinone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// ports are the addresses that outlive a restart as long as nobody else takes them.
type ports struct {
	HTTP       string `json:"http"`
	Temporal   string `json:"temporal"`
	TemporalUI string `json:"temporal_ui"`
	Callbacks  string `json:"callbacks"`
	NATS       string `json:"nats"`
}

// choosePorts takes the addresses of last time where they are free still.
func choosePorts(f *folder, cfg Config) (ports, error) {
	var p ports
	raw, err := os.ReadFile(f.path("ports.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if err == nil {
		if err := json.Unmarshal(raw, &p); err != nil {
			return p, fmt.Errorf("%s cannot be read (%w): remove it, other ports are chosen then", f.path("ports.json"), err)
		}
	}
	if err := p.fill(cfg); err != nil {
		return p, err
	}
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return p, err
	}
	return p, localcloud.WriteFile(f.path("ports.json"), out)
}

// fill asks for each address; those that people chose must be had.
func (p *ports) fill(cfg Config) error {
	var errs []error
	for _, want := range []struct {
		address      *string
		asked, label string
	}{
		{&p.HTTP, cfg.HTTP, "--http"},
		{&p.TemporalUI, cfg.TemporalUI, "--temporal-ui"},
		{&p.Temporal, anyPort, ""},
		{&p.Callbacks, anyPort, ""},
		{&p.NATS, anyPort, ""},
	} {
		var err error
		*want.address, err = take(*want.address, want.asked)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", want.label, want.asked, err))
		}
	}
	return errors.Join(errs...)
}

const anyPort = "127.0.0.1:0"

func take(last, asked string) (string, error) {
	if asked == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return "", errors.New("write HOST:PORT, for example 127.0.0.1:8080")
	}
	if port != "0" {
		return asked, free(asked)
	}
	if lastHost, _, err := net.SplitHostPort(last); err == nil && lastHost == host && free(last) == nil {
		return last, nil
	}
	return pick(host)
}

func free(address string) error {
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return errors.New("the address is not free: stop what listens there or choose another")
	}
	return lis.Close()
}

func pick(host string) (string, error) {
	lis, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	port := lis.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return net.JoinHostPort(host, strconv.Itoa(port)), lis.Close()
}
