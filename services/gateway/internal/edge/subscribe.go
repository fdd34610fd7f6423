package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/updates"
)

const (
	// listenLife is how long a subscription's stream lives at the most, and listenSpread
	// what is added by chance, so that they do not all come again at once.
	listenLife   = time.Hour
	listenSpread = 10 * time.Minute
	// maxTaskIDs bounds the tasks of one subscription.
	maxTaskIDs = 100
	// taskLook is how often the tasks of a subscription are looked at.
	taskLook = time.Second
)

// wanted is what a subscription asks for (MCP 2026-07-28, "Subscriptions").
type wanted struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
	TaskIDs   []string `json:"taskIds,omitempty"`
}

func (n wanted) nothing() bool {
	return !n.Tools && !n.Prompts && !n.Resources && len(n.URIs)+len(n.TaskIDs) == 0
}

// subscription is one open stream of changes.
type subscription struct {
	visit
	*stream
	req  modern.Request
	want wanted
	seen map[string][]byte // task to what was last told of it
	// of resources; nil when none are listened to
	resources *updates.Listener
}

// listen serves subscriptions/listen: first what will be told, then each change.
func (v visit) listen(w http.ResponseWriter, r *http.Request, req modern.Request) {
	var params struct {
		Notifications *wanted `json:"notifications"`
	}
	if json.Unmarshal(req.Params, &params) != nil || params.Notifications == nil {
		refuseModern(w, req.ID, modern.Invalid("params.notifications must say what to listen to", nil))
		return
	}
	if v.pick == (routes.Pick{}) {
		v.pick = routes.Pick{Key: v.caller.UserID, Caller: v.caller} // a rollout may begin meanwhile
	}
	if e := v.route.Endpoint; e != nil && e.GetModern() && v.up() {
		v.listenAcross(w, r, req)
		return
	}
	want := *params.Notifications
	if refusal := v.mayListen(req, &want); refusal != nil {
		refuseModern(w, req.ID, refusal)
		return
	}
	s := &subscription{visit: v, req: req, want: want, seen: map[string][]byte{}}
	if refusal := s.listenToResources(r.Context()); refusal != nil {
		refuseModern(w, req.ID, refusal)
		return
	}
	defer s.closeResources()
	var ok bool
	if s.stream, ok = openStream(w, v.deps.Config.KeepAlive); !ok {
		return
	}
	if s.say("notifications/subscriptions/acknowledged", map[string]any{"notifications": s.want}) && !s.want.nothing() {
		s.follow(r)
	}
	s.event("message", jsonrpc.NewResult(req.ID, jsonrpc.Encode(map[string]any{"resultType": modern.Complete, "_meta": s.tag()})))
}

// listenAcross passes the stream of an agent of the same era on: it knows its changes. It
// ends when the caller gets another version, and is to be opened again there.
func (v visit) listenAcross(w http.ResponseWriter, r *http.Request, req modern.Request) {
	answer := &modernAnswer{w: w, id: req.ID}
	defer answer.keepAlive(v.deps.Config.KeepAlive)()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go v.untilMoved(ctx, cancel, v.route, func() *routes.Route { return v.table.Target(v.route.Address.GetTargetId()).For(v.pick) })
	if refusal := v.bridge.Stream(ctx, v.route, req, answer.Tell); refusal != nil {
		answer.finish(nil, refusal)
	}
	answer.close()
}

// mayListen checks what is asked for and leaves out what the app does not have.
func (v visit) mayListen(req modern.Request, want *wanted) *modern.Refusal {
	if len(want.TaskIDs) > 0 && !req.Capabilities.Tasks() {
		return modern.NeedsTasks()
	}
	if len(want.TaskIDs) > maxTaskIDs {
		return modern.Invalid("one subscription follows at most 100 tasks", nil)
	}
	if len(want.URIs) > updates.MaxURIs {
		return modern.Invalid("one subscription follows at most 100 resources", nil)
	}
	e := v.route.Endpoint
	if e == nil || !e.Subscribes {
		want.URIs = nil
	}
	want.Tools = want.Tools && e != nil && e.GetToolsJson() != ""
	want.Prompts = want.Prompts && e != nil && e.GetPromptsJson() != ""
	want.Resources = want.Resources && e != nil && e.GetResourcesJson() != ""
	return nil
}

func (s *subscription) tag() map[string]any { return map[string]any{modern.MetaSubscription: s.req.ID} }

// say puts a notification on the stream, tagged with the subscription.
func (s *subscription) say(method string, params map[string]any) bool {
	params["_meta"] = s.tag()
	return s.event("message", jsonrpc.NewRequest(nil, method, jsonrpc.Encode(params)))
}

// follow tells changes until the client goes or the stream has lived long enough.
func (s *subscription) follow(r *http.Request) {
	life := time.NewTimer(listenLife + rand.N(listenSpread)) //nolint:gosec // it spreads load
	alive, look := time.NewTicker(s.keepAlive), time.NewTicker(taskLook)
	defer life.Stop()
	defer alive.Stop()
	defer look.Stop()
	known := s.route.Endpoint
	for ok := s.lookAtTasks(r); ok; {
		changed := s.table.Changed()
		now := s.table.Target(s.route.Address.GetTargetId()).For(s.pick)
		if now == nil {
			return
		}
		if ok = s.compare(known, now.Endpoint); !ok {
			return
		}
		known = now.Endpoint
		if s.resources != nil && now.Pick() != s.route.Pick() {
			s.say("notifications/cancelled", map[string]any{"requestId": s.req.ID, "reason": "listen again"})
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-life.C:
			s.say("notifications/cancelled", map[string]any{"requestId": s.req.ID, "reason": "listen again"})
			return
		case <-changed:
		case <-alive.C:
			ok = s.comment()
		case <-look.C:
			ok = s.lookAtTasks(r)
		case <-s.resourcesChanged():
			ok = s.tellResources()
		case <-s.resourcesOver():
			s.say("notifications/cancelled", map[string]any{"requestId": s.req.ID, "reason": "listen again"})
			return
		}
	}
}

// compare tells which lists of a new version are not those of the one before.
func (s *subscription) compare(before, now *routes.Endpoint) bool {
	if before == now || before == nil || now == nil {
		return true
	}
	ok := true
	if s.want.Tools && before.GetToolsJson() != now.GetToolsJson() {
		ok = s.say("notifications/tools/list_changed", map[string]any{})
	}
	if ok && s.want.Prompts && before.GetPromptsJson() != now.GetPromptsJson() {
		ok = s.say("notifications/prompts/list_changed", map[string]any{})
	}
	if ok && s.want.Resources && (before.GetResourcesJson() != now.GetResourcesJson() || before.GetResourceTemplatesJson() != now.GetResourceTemplatesJson()) {
		ok = s.say("notifications/resources/list_changed", map[string]any{})
	}
	return ok
}

// lookAtTasks tells how tasks are that have changed since they were last told of. Each
// is told of once at the beginning; one that ended is not looked at again.
func (s *subscription) lookAtTasks(r *http.Request) bool {
	open := s.want.TaskIDs[:0:0]
	for _, id := range s.want.TaskIDs {
		task, refusal := s.tasks.Get(r.Context(), s.route, id, s.req.Capabilities)
		if refusal != nil {
			if refusal.Code == jsonrpc.CodeInternal {
				open = append(open, id) // a room is away; the task is not
			}
			continue
		}
		about := map[string]any{}
		_ = json.Unmarshal(task, &about) // our own
		delete(about, "resultType")
		delete(about, "pollIntervalMs") // it grows with age, which is no change
		if now := jsonrpc.Encode(about); !bytes.Equal(now, s.seen[id]) {
			s.seen[id] = now
			if !s.say("notifications/tasks", about) {
				return false
			}
		}
		if status := about["status"]; status == "working" || status == "input_required" {
			open = append(open, id)
		}
	}
	s.want.TaskIDs = open
	return r.Context().Err() == nil
}
