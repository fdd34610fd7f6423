package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// ask asks the cloud's API, which must say yes.
func (c *cloud) ask(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if err := c.try(t, method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

// try asks the cloud's API; out is where the answer goes, or nil.
func (c *cloud) try(t *testing.T, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+"/api"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %w\n%s", method, path, res.Status, err, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
