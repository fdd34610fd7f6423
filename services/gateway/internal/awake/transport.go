package awake

import (
	"context"
	"io"
	"net/http"
)

type quietKey struct{}

// Quiet marks requests that do not say that somebody uses the agent: it may sleep as soon
// as they are over.
func Quiet(ctx context.Context) context.Context { return context.WithValue(ctx, quietKey{}, true) }

func quiet(ctx context.Context) bool { return ctx.Value(quietKey{}) != nil }

// Transport counts requests to agents that next sends. A request to one that rests fails
// with ErrResting and is not sent.
func (k *Keeper) Transport(next http.RoundTripper) http.RoundTripper { return transport{k, next} }

type transport struct {
	keeper *Keeper
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, ok := t.keeper.begin(req.Context(), req.URL.Host)
	if !ok {
		if req.Body != nil {
			_ = req.Body.Close() // as RoundTrip must
		}
		return nil, ErrResting
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		leave()
		return nil, err
	}
	res.Body = counted{res.Body, leave}
	return res, nil
}

// counted is a body that ends the count when it is closed.
type counted struct {
	io.ReadCloser
	leave func()
}

// Close implements io.Closer.
func (c counted) Close() error {
	defer c.leave()
	return c.ReadCloser.Close()
}
