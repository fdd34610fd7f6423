package agentclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// GreetSSE shakes hands by the older transport, HTTP with SSE (MCP 2024-11-05): the stream
// is the session, its first event says where to post, and answers come on it.
func (Prober) GreetSSE(ctx context.Context, serverURL string) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel() // which ends the session
	s := &session{http: client(0)}
	defer s.http.CloseIdleConnections()
	stream, err := s.listen(ctx, serverURL+"/sse")
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read only
	lines := bufio.NewScanner(io.LimitReader(stream, maxAnswer))
	lines.Buffer(nil, maxAnswer)
	place, err := data(lines, func([]byte) bool { return true })
	if err != nil {
		return fmt.Errorf("the SSE stream did not say where to post: %w", err)
	}
	if s.url, err = within(serverURL, string(place)); err != nil {
		return err
	}
	res, err := s.post(ctx, map[string]any{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello()})
	if err != nil {
		return fmt.Errorf("initialize by SSE: %w", err)
	}
	_ = res.Body.Close()
	var a answer
	_, err = data(lines, func(text []byte) bool { return json.Unmarshal(text, &a) == nil && string(a.ID) == "1" })
	switch {
	case err != nil:
		return fmt.Errorf("initialize by SSE: %w", err)
	case a.Result == nil:
		return fault.Invalid.Errorf("initialize by SSE: the server answers with an error")
	}
	return s.notify(ctx, "notifications/initialized")
}

// within is a place that a server names, on the server itself.
func within(serverURL, place string) (string, error) {
	server, err := url.Parse(serverURL)
	if err != nil {
		return "", err
	}
	to, err := server.Parse(place)
	if err != nil || to.Scheme != server.Scheme || to.Host != server.Host {
		return "", fault.Invalid.Wrap(err, "the SSE stream says to post to %q, which is not on the server", place)
	}
	return to.String(), nil
}

func (s *session) listen(ctx context.Context, at string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fault.Invalid.Errorf("the server answers %s to a client that listens by SSE", res.Status)
	}
	return res.Body, nil
}

// data is the next data of an event that is wanted.
func data(lines *bufio.Scanner, wanted func(text []byte) bool) ([]byte, error) {
	for lines.Scan() {
		if text, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:")); ok && wanted(bytes.TrimSpace(text)) {
			return bytes.Clone(bytes.TrimSpace(text)), nil
		}
	}
	return nil, errors.Join(errors.New("the stream ended without an answer"), lines.Err())
}
