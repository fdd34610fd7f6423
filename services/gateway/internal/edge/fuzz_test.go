package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// fuzzCall bounds one call, and fuzzStream a stream, which has no end of its own.
	fuzzCall   = 2 * time.Second
	fuzzStream = 10 * time.Millisecond
)

var (
	fuzzKeys  = []string{"alice", "bob", "stranger", "", "nobody's"}
	fuzzHosts = []string{oneHost, otherHost}
	// fuzzWays are the ways in.
	fuzzWays = []string{
		"POST /mcp", "GET /mcp", "DELETE /mcp", "GET /sse", "POST /messages/", "POST /call_tool", "GET /logs", "GET /", "PUT /mcp", "POST /",
	}
)

// known are the names by which an input speaks of what the holders have.
func (tn *tenants) known(text string) string {
	var pairs []string
	for _, h := range tn.holders {
		at := "$" + strings.ToUpper(h.key[:1])
		pairs = append(pairs, at+"S", h.session, at+"P", h.post, at+"T", h.task, at+"R", h.state, at+"X", h.another, at+"Q", h.question, at+"E", h.event)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// FuzzEdge sends anything to two organisations' apps, in anybody's name: nothing breaks,
// every answer can be read, and nobody reads what is another's.
func FuzzEdge(f *testing.F) {
	add := func(who, host, way uint8, session, version, method, name, event, query, body string) {
		f.Add(who, host, way, session, version, method, name, event, query, []byte(body))
	}
	const v, tools = "2026-07-28", "tools/call"
	work := string(call("tell", `{}`))
	for who := range uint8(4) {
		for _, holder := range []string{"$A", "$B", "$S"} {
			host := who / 2
			add(who, host, 0, holder+"S", "", "", "", "", "", work)
			add(who, host, 0, holder+"S", "", "", "", "", "", `{"jsonrpc":"2.0","id":"agentcloud-`+holder+`Q","result":{"action":"decline"}}`)
			add(who, host, 1, holder+"S", "2025-06-18", "", "", "1", "", "")
			for _, session := range []string{"$A", "$B", "$S"} {
				add(who, host, 1, session+"S", "", "", "", holder+"E", "", "")
			}
			add(who, host, 4, "", "", "", "", "", holder+"P", work)
			add(who, host, 0, "", v, "tasks/get", holder+"T", "", "", string(modernBody("tasks/get", `{"taskId":"`+holder+`T"}`, everything)))
			add(who, host, 0, "", v, "tasks/update", holder+"T", "", "", string(modernBody("tasks/update", `{"taskId":"`+holder+`T","inputResponses":{"`+holder+`Q":{"action":"accept"}}}`, everything)))
			add(who, host, 0, "", v, tools, "ask", "", "", string(modernBody(tools, `{"name":"ask","arguments":{},"requestState":"`+holder+`R","inputResponses":{"q1":{"action":"accept"}}}`, everything)))
			add(who, host, 0, "", v, "subscriptions/listen", "", "", "", string(modernBody("subscriptions/listen", `{"notifications":{"taskIds":["`+holder+`T"],"toolsListChanged":true}}`, everything)))
		}
		add(who, who/2, 2, "$AS", "", "", "", "", "", "")
		add(who, who/2, 0, "", v, tools, "tell", "", "", string(modernBody(tools, `{"name":"tell"}`, nothing)))
		add(who, who/2, 0, "", v, "tools/list", "", "", "", string(modernBody("tools/list", `{}`, nothing)))
		add(who, who/2, 0, "", "", "", "", "", "", hello)
		add(who, who/2, 5, "", "", "", "", "", "", `{"name":"tell","arguments":{}}`)
		add(who, who/2, 0, "$AS", "", "", "", "", "", string(call("workflows-get_status", `{"run_id":"Payout-run"}`)))
		add(who, who/2, 6, "", "", "", "", "", "?tail=1&follow=x", "")
	}
	tn := newTenants(f)
	f.Fuzz(func(t *testing.T, who, host, way uint8, session, version, method, name, event, query string, body []byte) {
		tn.t = t
		key, in := fuzzKeys[int(who)%len(fuzzKeys)], fuzzWays[int(way)%len(fuzzWays)]
		if labels.Match(body) || labels.MatchString(query+session+name) {
			return // it says a label itself
		}
		req, cancel := tn.fuzzed(t, key, fuzzHosts[int(host)%len(fuzzHosts)], in, query, tn.known(string(body)), map[string]string{
			"Mcp-Session-Id": session, "Mcp-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": name, "Last-Event-ID": event,
		})
		if req == nil {
			return
		}
		defer cancel()
		rec := httptest.NewRecorder()
		tn.handler.ServeHTTP(rec, req)
		readableBy(t, key, in, rec)
		if in == "DELETE /mcp" && rec.Code == http.StatusOK {
			for _, h := range tn.holders {
				tn.renew(h)
			}
		}
	})
}

// fuzzed makes a request; nil when no HTTP client could send it.
func (tn *tenants) fuzzed(t *testing.T, key, host, way, query, body string, headers map[string]string) (*http.Request, context.CancelFunc) {
	t.Helper()
	method, path, _ := strings.Cut(way, " ")
	if query = tn.known(query); strings.HasPrefix(query, path) {
		path = query
	} else if query != "" {
		path += "?" + strings.TrimPrefix(query, "?")
	}
	limit := fuzzCall
	if method == http.MethodGet || strings.Contains(body, "listen") {
		limit = fuzzStream
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, strings.NewReader(body))
	if err != nil {
		cancel()
		return nil, nil
	}
	req.RequestURI, req.ProtoMajor = req.URL.RequestURI(), 2 // a recorder has no connection to be had
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for name, value := range headers {
		value = tn.known(value)
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			req.Header.Set(name, value)
		}
	}
	return req, cancel
}

// readableBy holds an answer to what its caller may read and can.
func readableBy(t *testing.T, key, way string, rec *httptest.ResponseRecorder) {
	t.Helper()
	text := rec.Body.String()
	for _, found := range labels.FindAllString(text, -1) {
		if !strings.Contains(mayRead[key], found) {
			t.Errorf("%q reads %s: %d %s", key, found, rec.Code, text)
		}
	}
	if rec.Code >= http.StatusInternalServerError && rec.Code != http.StatusServiceUnavailable {
		t.Errorf("%s is answered with %d %s", way, rec.Code, text)
	}
	kind, _, _ := mime.ParseMediaType(rec.Header().Get("Content-Type"))
	switch {
	case kind == "text/event-stream":
		_ = sessions.ReadEvents(bytes.NewReader(rec.Body.Bytes()), func(e sessions.Event) error { // it may be cut
			if len(e.Data) > 0 && !json.Valid(e.Data) && !bytes.HasPrefix(e.Data, []byte("/messages/")) {
				t.Errorf("%s: an event is %q", way, e.Raw)
			}
			return nil
		})
	case rec.Body.Len() == 0, rec.Code == http.StatusAccepted:
	case !json.Valid(rec.Body.Bytes()):
		t.Errorf("%s is answered with %d %q", way, rec.Code, text)
	}
}

// FuzzStolen shows what is one's to another, at another app, or changed: it is refused.
func FuzzStolen(f *testing.F) {
	for what := range uint8(5) {
		for of := range uint8(3) {
			for by := range uint8(4) {
				f.Add(what, of, by, by/2, uint16(0), uint8(0))
				f.Add(what, of, by, by/2, uint16(40), uint8(1))
			}
		}
	}
	tn := newTenants(f)
	f.Fuzz(func(t *testing.T, what, of, by, at uint8, place uint16, change uint8) {
		tn.t = t
		h, key, host := tn.holders[int(of)%len(tn.holders)], fuzzKeys[int(by)%len(fuzzKeys)], fuzzHosts[int(at)%len(fuzzHosts)]
		if key == h.key && host == h.host && change == 0 {
			return // it is theirs
		}
		rec := tn.show(h, what, key, host, func(text string) string { return changed(text, place, change) })
		if m, err := jsonrpc.Parse(rec.Body.Bytes()); rec.Code < 400 || rec.Code > 499 || err == nil && m.Error == nil || labels.MatchString(rec.Body.String()) {
			t.Errorf("%q at %s shows %d of %s changed by %d at %d: %d %s", key, host, what%5, h.key, change, place, rec.Code, rec.Body)
		}
	})
}

// changed has one character of a text replaced by one that is sent as it is; zero leaves
// the text alone.
func changed(text string, place uint16, change uint8) string {
	const fine = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	b, i := []byte(text), int(place)%len(text)
	if change == 0 {
		return text
	}
	if b[i] = fine[int(change)%len(fine)]; b[i] == text[i] {
		b[i] = fine[(int(change)+1)%len(fine)]
	}
	return string(b)
}

// show uses one thing of a holder's in somebody's name.
func (tn *tenants) show(h *holder, what uint8, key, host string, as func(string) string) *httptest.ResponseRecorder {
	work := string(call("tell", `{}`))
	retry := func(state, answers string) *httptest.ResponseRecorder {
		params := `{"name":"ask","arguments":{"for":"` + h.label + `"},"requestState":"` + as(state) + `","inputResponses":` + answers + `}`
		return tn.stateless(key, host, "tools/call", "ask", params)
	}
	switch what % 5 {
	case 0:
		return tn.do(key, host, http.MethodPost, "/mcp", work, map[string]string{"Mcp-Session-Id": as(h.session)})
	case 1:
		id, rest, _ := strings.Cut(strings.TrimPrefix(h.post, "/messages/?session_id="), "&")
		return tn.do(key, host, http.MethodPost, "/messages/?session_id="+as(id)+"&"+rest, work, nil)
	case 2:
		id := as(h.task)
		return tn.stateless(key, host, "tasks/get", id, `{"taskId":"`+id+`"}`)
	case 3:
		return retry(h.state, `{}`)
	}
	return retry(h.another, `{"q1":{"action":"accept"}}`)
}
