package e2e

import (
	"net/http/httptest"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/fakemodel"
)

// startModel serves a model that needs no key, on loopback.
func startModel(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(fakemodel.New(fakemodel.Options{}))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}
