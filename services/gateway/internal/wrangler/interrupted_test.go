package wrangler_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

// An uploader that dies leaves neither a bundle nor a refusal.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	whole := form("main.py", strings.Repeat("x", 700_000), "b.py", "y")
	tests := map[string]string{
		"inside the metadata":         fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(whole), whole[:100]),
		"inside a file":               fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(whole), whole[:400_000]),
		"just before the end":         fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(whole), whole[:len(whole)-1]),
		"in a chunk":                  fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(whole), whole[:500]),
		"between chunks":              fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", 500, whole[:500]),
		"in place of the first chunk": "Transfer-Encoding: chunked\r\n\r\n",
	}
	for name, rest := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrangler.Defaults())
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: multipart/form-data; boundary=%s\r\n%s",
				w.scripts(), goodKey, boundary, rest)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); w.builder.streams() == 0; {
				if time.Now().After(deadline) {
					t.Fatal("the builder's stream did not end")
				}
				time.Sleep(time.Millisecond) //nolint:forbidigo // waits on a condition
			}
			if records, kept := w.registry.recorded(), w.builder.committed(); len(records) != 0 || len(kept) != 0 {
				t.Errorf("recorded %v and kept %d bundles, want nothing", records, len(kept))
			}
		})
	}
}
