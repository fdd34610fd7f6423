package commandhost

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAProjectWithoutAServer(t *testing.T) {
	t.Parallel()
	n := newNobody("parcels")
	if about, err := n.introduce(t.Context()); err != nil || about.Name != "parcels" {
		t.Errorf("introduce() = %+v, %v", about, err)
	}
	tests := map[string]struct {
		method, body string
		code         int
		want         string
	}{
		"hello":        {http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, http.StatusOK, `"serverInfo":{"name":"parcels"`},
		"no tools":     {http.MethodPost, `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`, http.StatusOK, `{"id":"a","jsonrpc":"2.0","result":{"tools":[]}}`},
		"others":       {http.MethodPost, `{"jsonrpc":"2.0","id":2,"method":"tools/call"}`, http.StatusOK, `"code":-32601`},
		"notification": {http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, http.StatusAccepted, ""},
		"no message":   {http.MethodPost, `[]`, http.StatusBadRequest, "this is no JSON-RPC message"},
		"a stream":     {http.MethodGet, "", http.StatusMethodNotAllowed, "nothing to listen to"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			n.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, "/mcp", strings.NewReader(tt.body)))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.body, w.Code, w.Body, tt.code, tt.want)
			}
		})
	}
}
