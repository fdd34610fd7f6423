package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

const (
	askLimit  = 60 * time.Second
	maxAnswer = 16 << 20
)

// access is how a command finds the cloud: flags, then the variables that the public
// command line uses, then the cloud of this machine.
type access struct{ url, key, data string }

func accessFlags(cmd *cobra.Command) *access {
	a := &access{}
	cmd.PersistentFlags().StringVar(&a.url, "api-url", os.Getenv("MCP_API_BASE_URL"), "address of the API, ends in /api (MCP_API_BASE_URL)")
	cmd.PersistentFlags().StringVar(&a.data, "data", localcloud.DefaultData(), "data folder of the cloud on this machine")
	return a
}

// client is a caller of the REST surface.
type client struct {
	url, key string
	http     *http.Client
}

func (a *access) client() (*client, error) {
	a.key = os.Getenv("MCP_API_KEY")
	if a.url == "" || a.key == "" {
		here, err := localcloud.Read(a.data)
		if err != nil {
			return nil, err
		}
		if a.url == "" {
			a.url = here.URL + "/api"
		}
		if a.key == "" {
			if a.key, err = here.Key(); err != nil {
				return nil, err
			}
		}
	}
	return &client{url: strings.TrimSuffix(a.url, "/"), key: a.key, http: &http.Client{Timeout: askLimit}}, nil
}

// call sends in (nil: no body) and reads the answer into out.
func (c *client) call(ctx context.Context, method, path string, in, out proto.Message) error {
	var body io.Reader
	if in != nil {
		raw, err := protojson.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("the cloud at %s does not answer: %w", c.url, err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return refused(res.StatusCode, raw)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, out)
}

// refused is the sentence of an error answer.
func refused(status int, raw []byte) error {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(raw, &answer) == nil && answer.Error != "" {
		return fmt.Errorf("%s", answer.Error)
	}
	return fmt.Errorf("the cloud answered %d %s", status, http.StatusText(status))
}
