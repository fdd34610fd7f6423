package commandhost

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// lateEnd is the body of a request whose end is looked for once its answer has begun.
type lateEnd struct {
	io.ReadCloser
	left         int64
	begun, ended chan struct{}
}

func (l *lateEnd) Read(p []byte) (int, error) {
	if l.left <= 0 {
		<-l.begun
		defer close(l.ended)
	}
	n, err := l.ReadCloser.Read(p)
	l.left -= int64(n)
	return n, err
}

func TestAnAnswerThatBeginsBeforeTheRequestsEndIsSeenIsWhole(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, r.ContentLength))
		_ = http.NewResponseController(w).Flush()
		<-ended
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(program.Close)
	to, err := url.Parse(program.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ReverseProxy: passOn(to)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &lateEnd{ReadCloser: r.Body, left: r.ContentLength, begun: begun, ended: ended}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL, strings.NewReader(`{"jsonrpc":"2.0"}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	close(begun)
	if answer, err := io.ReadAll(res.Body); err != nil || string(answer) != "whole" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
}
