package agentclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Which addresses servers that run elsewhere may have.
const (
	AnyAddress    = "any"
	PublicAddress = "public"
)

const (
	dialLimit = 10 * time.Second
	// stateless is the version of the era without sessions in which is asked.
	stateless = "2026-07-28"
	// KindRemote is the kind of a server that runs elsewhere.
	KindRemote = "remote"
)

// Remote shakes hands with servers that run elsewhere.
type Remote struct {
	// Addresses is AnyAddress or PublicAddress.
	Addresses string
}

// CaptureRemote asks a server for everything it offers, in the eras that it speaks.
func (r Remote) CaptureRemote(ctx context.Context, url string) (store.Capture, error) {
	client := &http.Client{
		Timeout: callLimit,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: dialLimit, Control: r.control}).DialContext, DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	modern := &session{url: url, http: client, modern: true}
	discover, noModern := modern.call(ctx, "server/discover", map[string]any{})
	legacy := &session{url: url, http: client}
	c, err := legacy.captureAll(ctx)
	modernOnly := err != nil && noModern == nil
	if modernOnly {
		c, err = modern.captureDiscovered(ctx, discover)
	}
	if err != nil {
		return store.Capture{}, errors.Join(err, forbidden(noModern))
	}
	c.Kind, c.MCPURL = KindRemote, url
	if noModern == nil && speaksStateless(discover) {
		c.Modern, c.ModernOnly, c.DiscoverJSON = true, modernOnly, string(discover)
	}
	return c, nil
}

// forbidden is err when it tells that the address is not allowed.
func forbidden(err error) error {
	if fault.Denied.Is(err) {
		return err
	}
	return nil
}

func speaksStateless(discover json.RawMessage) bool {
	var about struct {
		Versions []string `json:"supportedVersions"`
	}
	_ = json.Unmarshal(discover, &about) // who says nothing speaks nothing
	for _, version := range about.Versions {
		if version >= stateless {
			return true
		}
	}
	return false
}

// captureDiscovered captures a server that keeps no sessions at all.
func (s *session) captureDiscovered(ctx context.Context, discover json.RawMessage) (store.Capture, error) {
	var about struct {
		Capabilities json.RawMessage `json:"capabilities"`
		Instructions string          `json:"instructions,omitempty"`
		Meta         struct {
			ServerInfo json.RawMessage `json:"io.modelcontextprotocol/serverInfo"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(discover, &about); err != nil {
		return store.Capture{}, fmt.Errorf("answer to server/discover: %w", err)
	}
	if about.Meta.ServerInfo == nil {
		about.Meta.ServerInfo = json.RawMessage(`{"name":"server","version":"1"}`)
	}
	hello, err := json.Marshal(map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": about.Capabilities, "serverInfo": about.Meta.ServerInfo, "instructions": about.Instructions,
	})
	if err != nil {
		return store.Capture{}, err
	}
	return s.capture(ctx, hello)
}

// control refuses addresses at the last moment before a connection: names may change
// what they mean between check and use.
func (r Remote) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified():
		return fault.Denied.Errorf("servers at %s may not be connected: such addresses are the machine's own", ip)
	case r.Addresses == PublicAddress && (ip.IsPrivate() || ip.IsLoopback()):
		return fault.Denied.Errorf("servers at %s may not be connected: this cloud takes public addresses only (deploy.remote_addresses)", ip)
	}
	return nil
}
