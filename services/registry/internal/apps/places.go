package apps

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// Places is where apps answer: a host name each under a wildcard domain, or, without
// one, a port each on loopback. The public command line drops paths from addresses,
// so a path per app is not possible.
type Places struct {
	// Scheme is "http" or "https".
	Scheme string
	// Domain is the wildcard domain; empty: port mode.
	Domain string
	// PublicPort is added to host names when it is not the scheme's own; 0: not.
	PublicPort int
	// Host is the loopback address of port mode.
	Host string
	// FirstPort and LastPort are the range of port mode.
	FirstPort, LastPort int
}

const placeTries = 20

// URL is what people see of an address.
func (p Places) URL(at store.Address) string {
	if at.Host == "" {
		return "http://" + net.JoinHostPort(p.Host, strconv.Itoa(at.Port))
	}
	if p.PublicPort == 0 {
		return p.Scheme + "://" + at.Host
	}
	return p.Scheme + "://" + net.JoinHostPort(at.Host, strconv.Itoa(p.PublicPort))
}

// Parse reads an address back from a URL, whatever path it has: clients add /sse and /mcp.
func (p Places) Parse(text string) (store.Address, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" {
		return store.Address{}, fault.NotFound.Errorf("no app answers at %q", text)
	}
	if p.Domain != "" {
		return store.Address{Host: strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))}, nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil || !isLoopback(u.Hostname()) {
		return store.Address{}, fault.NotFound.Errorf("no app answers at %q", text)
	}
	return store.Address{Port: port}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// hostName is a DNS label (RFC 1035) of name and id, under the domain.
func (p Places) hostName(name, targetID string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	slug := strings.Trim(b.String(), "-")
	if slug == "" {
		slug = "app"
	}
	return slug + "-" + targetID[len(targetID)-8:] + "." + p.Domain
}

// place gives a target an address in the transaction that makes it.
func (s *Service) place(ctx context.Context, targetID, name string, insert func(*sqldb.Tx) error) (store.Address, error) {
	taken, err := s.deps.Store.TakenPorts(ctx)
	if err != nil {
		return store.Address{}, err
	}
	for range placeTries {
		at, err := s.deps.Places.choose(ctx, name, targetID, taken)
		if err != nil {
			return at, err
		}
		collided := false
		err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			if err := insert(tx); err != nil {
				return err
			}
			err := s.deps.Store.InsertAddress(ctx, tx, targetID, at)
			collided = sqldb.IsUnique(err)
			return err
		})
		if !collided {
			return at, err
		}
		taken[at.Port] = true
	}
	return store.Address{}, fault.Conflict.Errorf("no address was free; try again")
}

func (p Places) choose(ctx context.Context, name, targetID string, taken map[int]bool) (store.Address, error) {
	if p.Domain != "" {
		return store.Address{Host: p.hostName(name, targetID)}, nil
	}
	for port := p.FirstPort; port <= p.LastPort; port++ {
		if !taken[port] && p.bindable(ctx, port) {
			return store.Address{Port: port}, nil
		}
		taken[port] = true
	}
	return store.Address{}, fault.Exhausted.Errorf("all ports from %d to %d are in use: widen app_ports, or configure app_domain", p.FirstPort, p.LastPort)
}

// bindable says whether some other program has the port.
func (p Places) bindable(ctx context.Context, port int) bool {
	var config net.ListenConfig
	lis, err := config.Listen(ctx, "tcp", net.JoinHostPort(p.Host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return lis.Close() == nil
}

// ParsePorts reads "8100-8999".
func ParsePorts(text string) (first, last int, err error) {
	from, to, _ := strings.Cut(text, "-")
	first, errFirst := strconv.Atoi(from)
	last, errLast := strconv.Atoi(to)
	if errFirst != nil || errLast != nil || first < 1 || last > 65535 || first > last {
		return 0, 0, fmt.Errorf("app_ports is %q; write first-last, for example 8100-8999", text)
	}
	return first, last, nil
}
