package apps_test

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

var (
	byHost = apps.Places{Scheme: "https", Domain: "apps.example.com"}
	byPort = apps.Places{Host: "127.0.0.1", FirstPort: 8100, LastPort: 8999}
)

func TestParse(t *testing.T) {
	t.Parallel()
	none := store.Address{}
	tests := map[string]struct {
		places apps.Places
		url    string
		want   store.Address // none: not found
	}{
		"a host":                  {byHost, "https://finder-1.apps.example.com", store.Address{Host: "finder-1.apps.example.com"}},
		"with a path and a port":  {byHost, " http://finder-1.apps.example.com:8443/sse?x=1 ", store.Address{Host: "finder-1.apps.example.com"}},
		"capitals and a last dot": {byHost, "https://Finder-1.Apps.Example.COM./mcp", store.Address{Host: "finder-1.apps.example.com"}},
		"no URL":                  {byHost, "finder", none},
		"a port":                  {byPort, "http://127.0.0.1:8123/sse", store.Address{Port: 8123}},
		"another loopback":        {byPort, "http://localhost:8123", store.Address{Port: 8123}},
		"version 6":               {byPort, "http://[::1]:8123", store.Address{Port: 8123}},
		"another machine":         {byPort, "http://192.0.2.1:8123", none},
		"no port":                 {byPort, "http://127.0.0.1", none},
		"a control character":     {byPort, "http://127.0.0.1:8123\x00", none},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.places.Parse(tt.url)
			if got != tt.want || fault.NotFound.Is(err) != (tt.want == none) {
				t.Errorf("Parse(%q) = %v, %v, want %v", tt.url, got, err, tt.want)
			}
		})
	}
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`) // RFC 1035, 2.3.1, and RFC 1123, 2.1

func TestHostNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"finder", "Ünder  Finder!", "🙂", "--a--", strings.Repeat("long ", 30), "a.b.c", "9"} {
		first, rest, _ := strings.Cut(apps.HostName(byHost, name, "app_0197a1b2-0000-7000-8000-0123456789ab"), ".")
		if !label.MatchString(first) || rest != "apps.example.com" || !strings.HasSuffix(first, "-456789ab") {
			t.Errorf("hostName(%q) = %s.%s, want a DNS label and the end of the id", name, first, rest)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	odd := byHost
	odd.PublicPort = 8443
	for want, got := range map[string]string{
		"https://x.apps.example.com":      byHost.URL(store.Address{Host: "x.apps.example.com"}),
		"https://x.apps.example.com:8443": odd.URL(store.Address{Host: "x.apps.example.com"}),
		"http://127.0.0.1:8100":           byPort.URL(store.Address{Port: 8100}),
	} {
		if got != want {
			t.Errorf("URL() = %s, want %s", got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close() //nolint:errcheck // the test is over
	used := lis.Addr().(*net.TCPAddr).Port
	narrow := apps.Places{Host: "127.0.0.1", FirstPort: used, LastPort: used}
	_, err = apps.Choose(narrow, t.Context(), "x", "app_1", map[int]bool{})
	if !fault.Exhausted.Is(err) || !strings.Contains(fault.Message(err), "app_ports") {
		t.Errorf("choose(a port that somebody has) = %v, want what to configure", err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	if at, err := apps.Choose(narrow, t.Context(), "x", "app_1", map[int]bool{}); err != nil || at.Port != used {
		t.Errorf("choose(a free port) = %v, %v, want %d", at, err, used)
	}
	if _, err := apps.Choose(narrow, t.Context(), "x", "app_1", map[int]bool{used: true}); !fault.Exhausted.Is(err) {
		t.Errorf("choose(a taken port) = %v, want none left", err)
	}
}

func TestParsePorts(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"8100-8999": true, "1-65535": true, "80-80": true, "": false, "8100": false, "9-8": false, "0-5": false, "1-70000": false, "a-b": false, "80-90x": false} {
		if _, _, err := apps.ParsePorts(text); (err == nil) != ok {
			t.Errorf("ParsePorts(%q) = %v, want ok %v", text, err, ok)
		}
	}
}
