package recordings

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

// ask makes one request as a user.
func (w *world) ask(t *testing.T, user, method, path string, body io.Reader, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	for name, values := range header {
		r.Header[name] = values
	}
	if key := w.keys[user]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	answer := httptest.NewRecorder()
	w.api.ServeHTTP(answer, r)
	return answer
}

func TestBigBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	for name, body := range map[string]io.Reader{"with a length": strings.NewReader(big), "chunked": io.MultiReader(strings.NewReader(big))} {
		got := w.ask(t, "ann", http.MethodPost, "/api/mcp_app/create_app", body, nil)
		if got.Code != http.StatusRequestEntityTooLarge || !strings.Contains(got.Body.String(), "at most 1024 KiB") {
			t.Errorf("%s: POST of 1 MiB and more = %d %s, want it refused", name, got.Code, got.Body)
		}
	}
	if got := w.ask(t, "nobody", http.MethodPost, "/api/mcp_app/create_app", strings.NewReader(big), nil); got.Code != http.StatusUnauthorized {
		t.Errorf("POST without a key = %d, want it refused before it is read", got.Code)
	}
}

// Nobody becomes somebody else by a header that rooms use among themselves.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := principal.From(w.as(t, "admin")).Encode()
	header := http.Header{}
	for _, name := range []string{principal.Header, "Grpc-Metadata-" + principal.Header, "Grpcgateway-" + principal.Header} {
		header.Set(name, admin)
	}
	got := w.ask(t, "ann", http.MethodPost, "/api/user/get_profile", strings.NewReader("{}"), header)
	if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"ann"`) || strings.Contains(got.Body.String(), "Administrator") {
		t.Errorf("POST with forged headers = %d %s, want ann", got.Code, got.Body)
	}
	if got := w.ask(t, "nobody", http.MethodPost, "/api/user/get_profile", strings.NewReader("{}"), header); got.Code != http.StatusUnauthorized {
		t.Errorf("POST with forged headers and no key = %d %s, want it refused", got.Code, got.Body)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.ask(t, "nobody", http.MethodGet, "/api/openapi.json", nil, nil)
	var document struct {
		Paths map[string]any
	}
	if err := json.Unmarshal(got.Body.Bytes(), &document); err != nil || got.Code != http.StatusOK {
		t.Fatalf("GET = %d, %v, want JSON", got.Code, err)
	}
	for _, path := range []string{"/mcp_app/deploy_app", "/secrets/create_secret", "/mcp_app/get_app_logs", "/user/get_profile", "/v1/keys"} {
		if document.Paths[path] == nil && document.Paths["/api"+path] == nil {
			t.Errorf("the description has no path %s", path)
		}
	}
	for path := range document.Paths {
		if strings.Contains(path, "Authenticate") || strings.Contains(path, "ResolveHandles") {
			t.Errorf("the description shows %s, which is not for the outside", path)
		}
	}
}

// No answer repeats a value that was sent in the wrong place.
func TestSecretsAreNotEchoed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, body := range []string{`{"value":314159265358979}`, `{"name":{"x":"sk-314159265358979"}}`, `{"value":"sk-314159265358979`, `"sk-314159265358979"`} {
		got := w.ask(t, "ann", http.MethodPost, "/api/secrets/create_secret", strings.NewReader(body), nil)
		if got.Code != http.StatusBadRequest || strings.Contains(got.Body.String(), "3141592") {
			t.Errorf("POST %s = %d %s, want it refused without its value", body, got.Code, got.Body)
		}
	}
}
