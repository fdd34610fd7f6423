package questions

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestAnswerFitsTheQuestion(t *testing.T) {
	t.Parallel()
	form := store.Question{Method: elicitation, ParamsJSON: `{"requestedSchema":{"type":"object","properties":{
		"ok":{"type":"boolean"},"count":{"type":"integer"},"color":{"type":"string","enum":["red","blue"]},"note":{"type":"string"}},"required":["ok"]}}`}
	sampling := store.Question{Method: "sampling/createMessage"}
	content, err := structpb.NewStruct(map[string]any{"ok": true})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		question store.Question
		request  *schedulerv1.AnswerQuestionRequest
		want     string
	}{
		"accepted":                      {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":true,"more":1}}`}, `{"action":"accept","content":{"ok":true,"more":1}}`},
		"declined without content":      {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"decline"}`}, `{"action":"decline"}`},
		"by action and content":         {form, &schedulerv1.AnswerQuestionRequest{Action: "accept", Content: content}, `{"action":"accept","content":{"ok":true}}`},
		"declined by action":            {form, &schedulerv1.AnswerQuestionRequest{Action: "decline", Content: content}, `{"action":"decline"}`},
		"null where nothing must be":    {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":true,"note":null}}`}, `{"action":"accept","content":{"ok":true,"note":null}}`},
		"a model's answer":              {sampling, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"role":"assistant"}`}, `{"role":"assistant"}`},
		"what is required is not there": {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{}}`}, ""},
		"what is required is null":      {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":null}}`}, ""},
		"another type":                  {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":"yes"}}`}, ""},
		"no whole number":               {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":true,"count":1.5}}`}, ""},
		"no choice of the list":         {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"action":"accept","content":{"ok":true,"color":"green"}}`}, ""},
		"no object":                     {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `7`}, ""},
		"no JSON":                       {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{`}, ""},
		"a result without an action":    {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `{"content":{"ok":true}}`}, ""},
		"null":                          {form, &schedulerv1.AnswerQuestionRequest{AnswerJson: `null`}, ""},
		"an unknown action":             {form, &schedulerv1.AnswerQuestionRequest{Action: "maybe"}, ""},
		"an action for a model":         {sampling, &schedulerv1.AnswerQuestionRequest{Action: "accept"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := answerOf(tt.question, tt.request)
			if got != tt.want && tt.want != "" || tt.want == "" && !fault.Invalid.Is(err) {
				t.Errorf("answerOf() = %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}
