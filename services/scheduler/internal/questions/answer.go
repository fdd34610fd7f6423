package questions

import (
	"encoding/json"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const elicitation = "elicitation/create"

// actions are what a person can do with an elicitation (MCP "Elicitation").
var actions = []string{"accept", "decline", "cancel"}

var errAction = fault.Invalid.Errorf("action must be accept, decline or cancel")

// answerOf is the MCP result of a request, checked against what was asked.
func answerOf(q store.Question, req *schedulerv1.AnswerQuestionRequest) (string, error) {
	answer := req.GetAnswerJson()
	if answer == "" {
		made, err := made(q, req)
		if err != nil {
			return "", err
		}
		answer = made
	}
	switch {
	case len(answer) > maxText:
		return "", fault.TooLarge.Errorf("an answer has at most %d bytes", maxText)
	case !json.Valid([]byte(answer)):
		return "", fault.Invalid.Errorf("an answer must be JSON: the result of the MCP method")
	case q.Method != elicitation:
		return answer, nil
	}
	return answer, checkForm(q.ParamsJSON, answer)
}

// made is the result of an elicitation, of action and content.
func made(q store.Question, req *schedulerv1.AnswerQuestionRequest) (string, error) {
	if q.Method != elicitation {
		return "", fault.Invalid.Errorf("%s is answered with its MCP result, in answerJson", q.Method)
	}
	if !slices.Contains(actions, req.GetAction()) {
		return "", errAction
	}
	result := map[string]any{"action": req.GetAction()}
	if req.GetAction() == "accept" {
		content := json.RawMessage("{}")
		if req.GetContent() != nil {
			raw, err := protojson.Marshal(req.GetContent())
			if err != nil {
				return "", fault.Invalid.Wrap(err, "content must be an object")
			}
			content = raw
		}
		result["content"] = content
	}
	raw, err := json.Marshal(result)
	return string(raw), err
}

// form is the part of an elicitation's params that an answer must fit (MCP
// "Elicitation": flat objects of primitive values).
type form struct {
	Schema struct {
		Properties map[string]struct {
			Type string            `json:"type"`
			Enum []json.RawMessage `json:"enum"`
		} `json:"properties"`
		Required []string `json:"required"`
	} `json:"requestedSchema"`
}

// checkForm fails with fault.Invalid when an accepted form lacks what is required, or
// has values of another type than was asked for. What was not asked for is not looked at.
func checkForm(params, answer string) error {
	var result struct {
		Action  string                     `json:"action"`
		Content map[string]json.RawMessage `json:"content"`
	}
	if json.Unmarshal([]byte(answer), &result) != nil {
		return fault.Invalid.Errorf("the answer to an elicitation is an object with an action, and content when that is accept")
	}
	if !slices.Contains(actions, result.Action) {
		return errAction
	}
	var asked form
	if result.Action != "accept" || json.Unmarshal([]byte(params), &asked) != nil {
		return nil //nolint:nilerr // a form that cannot be read asks for nothing
	}
	for _, name := range asked.Schema.Required {
		if value, there := result.Content[name]; !there || string(value) == "null" {
			return fault.Invalid.Errorf("the answer lacks %q", name)
		}
	}
	for name, value := range result.Content {
		property, known := asked.Schema.Properties[name]
		if string(value) == "null" {
			continue // as good as absent
		}
		if known && !hasType(value, property.Type) {
			return fault.Invalid.Errorf("%q must be of type %s", name, property.Type)
		}
		if len(property.Enum) > 0 && property.Type == "string" && !slices.ContainsFunc(property.Enum, func(one json.RawMessage) bool { return string(one) == string(value) }) {
			return fault.Invalid.Errorf("%q is not one of the choices", name)
		}
	}
	return nil
}

func hasType(value json.RawMessage, kind string) bool {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return false
	}
	switch kind {
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "number":
		_, ok := v.(float64)
		return ok
	case "integer":
		number, ok := v.(float64)
		return ok && number == float64(int64(number))
	case "array":
		_, ok := v.([]any)
		return ok
	}
	return true
}
