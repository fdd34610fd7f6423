package callbacks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
)

const (
	maxBody = 4 << 20
	// askWait is one long poll for the answer to a question that its asker waits for.
	askWait = 25 * time.Second
	// askPause is between two of them: a scheduler that is going answers at once.
	askPause = 100 * time.Millisecond
	// tokenHeader carries an agent's token, beside Authorization.
	tokenHeader = "X-Mcp-Gateway-Token" //nolint:gosec // the name of a header
	// askHeader names a question of an activity, so that its retry asks no second time.
	askHeader = "X-Agentcloud-Ask"
)

// Server answers agents' workers (the framework's /internal routes).
type Server struct {
	questions *Questions
	mux       *http.ServeMux
}

// NewServer returns a Server that brings what it gets to questions.
func NewServer(questions *Questions) *Server {
	s := &Server{questions: questions, mux: http.NewServeMux()}
	s.handle("POST /internal/session/by-run/{run}/notify", s.notify)
	s.handle("POST /internal/session/by-run/{workflow}/{run}/async-request", s.asyncRequest)
	s.handle("POST /internal/session/by-run/{run}/request", s.request)
	s.handle("POST /internal/workflows/log", s.log)
	s.handle("POST /internal/human/prompts", s.prompt)
	return s
}

// ServeHTTP serves the routes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// phone is one call from an agent.
type phone struct {
	agent *schedulerv1.IdentifyAgentResponse
	r     *http.Request
	body  struct {
		Method      string          `json:"method"`
		Params      json.RawMessage `json:"params"`
		SignalName  string          `json:"signal_name"`
		ExecutionID string          `json:"execution_id"`
		Level       string          `json:"level"`
		Namespace   string          `json:"namespace"`
		Message     string          `json:"message"`
		Data        json.RawMessage `json:"data"`
		Prompt      struct {
			Text string `json:"text"`
		} `json:"prompt"`
		Metadata struct {
			WorkflowID string `json:"workflow_id"`
			SignalName string `json:"signal_name"`
		} `json:"metadata"`
	}
}

func (s *Server) handle(pattern string, h func(context.Context, *phone) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		p := &phone{r: r}
		answer, err := s.take(r.Context(), p, h)
		if err != nil {
			rest.WriteFault(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(jsonrpc.Encode(answer))
	})
}

func (s *Server) take(ctx context.Context, p *phone, h func(context.Context, *phone) (any, error)) (any, error) {
	token := p.r.Header.Get(tokenHeader)
	if token == "" {
		token = auth.Key(p.r)
	}
	agent, err := s.questions.identify(ctx, token)
	if err != nil {
		return nil, err
	}
	p.agent = agent
	raw, err := io.ReadAll(io.LimitReader(p.r.Body, maxBody+1))
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "the body ended early")
	}
	if len(raw) > maxBody {
		return nil, fault.TooLarge.Errorf("a message may have at most %d bytes", maxBody)
	}
	if err := json.Unmarshal(raw, &p.body); err != nil || !utf8.Valid(raw) {
		return nil, fault.Invalid.Wrap(err, "the body is no valid JSON")
	}
	return h(as(ctx, agent), p)
}

// notify passes a notification on to whoever started the run.
func (s *Server) notify(ctx context.Context, p *phone) (any, error) {
	if !strings.HasPrefix(p.body.Method, "notifications/") {
		return nil, fault.Invalid.Errorf("method must be that of a notification")
	}
	o, err := s.questions.ownerOf(ctx, p.agent, p.r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	if p.body.Method == "notifications/progress" {
		return accepted, s.questions.progress(p.agent.GetTargetId(), o, p.body.Params)
	}
	s.questions.tell(p.agent.GetTargetId(), o, jsonrpc.NewRequest(nil, p.body.Method, p.body.Params))
	return accepted, nil
}

var accepted = map[string]bool{"ok": true}

// asyncRequest records a question whose answer comes as a signal, and asks whoever
// is there.
func (s *Server) asyncRequest(ctx context.Context, p *phone) (any, error) {
	run, workflow := p.r.PathValue("run"), p.r.PathValue("workflow")
	if p.body.SignalName == "" {
		return nil, fault.Invalid.Errorf("signal_name is needed")
	}
	if err := askable(p.body.Method); err != nil {
		return nil, err
	}
	res, err := s.questions.deps.Runs.AskQuestion(ctx, &schedulerv1.AskQuestionRequest{
		TargetId: p.agent.GetTargetId(), WorkflowId: workflow, RunId: run, Method: p.body.Method,
		ParamsJson: string(p.body.Params), SignalName: p.body.SignalName,
	})
	if err != nil {
		return nil, err
	}
	if !res.GetAnswered() {
		s.questions.offer(res.GetQuestion())
	}
	return map[string]string{"status": "received", "execution_id": run, "method": p.body.Method, "signal_name": p.body.SignalName}, nil
}

// request answers on the call itself, which waits as long as a person takes.
func (s *Server) request(ctx context.Context, p *phone) (any, error) {
	if p.body.Method == "ping" {
		return struct{}{}, nil
	}
	if err := askable(p.body.Method); err != nil {
		return nil, err
	}
	key := p.r.Header.Get(askHeader)
	if key == "" {
		key = rand.Text()
	}
	for {
		res, err := s.questions.deps.Runs.AskQuestion(ctx, &schedulerv1.AskQuestionRequest{
			TargetId: p.agent.GetTargetId(), RunId: p.r.PathValue("run"), Method: p.body.Method,
			ParamsJson: string(p.body.Params), AskKey: key, Wait: durationpb.New(askWait),
		})
		if err != nil && !fault.Deadline.Is(err) || ctx.Err() != nil {
			return nil, err
		}
		if res.GetAnswered() {
			return json.RawMessage(res.GetAnswerJson()), nil
		}
		if res.GetQuestion() != nil {
			s.questions.offer(res.GetQuestion())
		}
		if err := pause(ctx, askPause); err != nil {
			return nil, err
		}
	}
}

// askable refuses what no client will ever answer: its run would wait for ever.
func askable(method string) error {
	switch method {
	case "elicitation/create", "sampling/createMessage", "roots/list":
		return nil
	}
	return fault.Unimplemented.Errorf("clients cannot be asked %q", method)
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// log is the framework's other way to say a line.
func (s *Server) log(ctx context.Context, p *phone) (any, error) {
	o, err := s.questions.ownerOf(ctx, p.agent, p.body.ExecutionID)
	if err != nil {
		return nil, err
	}
	params := jsonrpc.Encode(map[string]any{
		"level": p.body.Level, "logger": p.body.Namespace, "data": map[string]any{"message": p.body.Message, "namespace": p.body.Namespace, "data": p.body.Data},
	})
	s.questions.tell(p.agent.GetTargetId(), o, jsonrpc.NewRequest(nil, "notifications/message", params))
	return accepted, nil
}

// prompt is a question to a person in words; its answer is a text.
func (s *Server) prompt(ctx context.Context, p *phone) (any, error) {
	if p.body.Metadata.SignalName == "" {
		return nil, fault.Invalid.Errorf("metadata.signal_name is needed: the answer comes as that signal")
	}
	params := jsonrpc.Encode(map[string]any{
		"message": p.body.Prompt.Text,
		"requestedSchema": map[string]any{
			"type": "object", "required": []string{"response"},
			"properties": map[string]any{"response": map[string]string{"type": "string", "title": "Response"}},
		},
	})
	res, err := s.questions.deps.Runs.AskQuestion(ctx, &schedulerv1.AskQuestionRequest{
		TargetId: p.agent.GetTargetId(), WorkflowId: p.body.Metadata.WorkflowID, RunId: p.body.ExecutionID,
		Method: "elicitation/create", ParamsJson: string(params), SignalName: p.body.Metadata.SignalName,
	})
	if err != nil {
		return nil, err
	}
	if !res.GetAnswered() {
		s.questions.offer(res.GetQuestion())
	}
	return map[string]string{"request_id": res.GetQuestion().GetQuestionId()}, nil
}
