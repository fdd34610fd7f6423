package runs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
)

const (
	// maxArguments bounds the arguments of one run, bytes.
	maxArguments = payloads.Most
	// reserved begins parameters by which the agents' SDK lets a caller choose ids and
	// queues; nobody outside may.
	reserved = "__mcp_agent_"
)

// check reads a caller's arguments, fills in every default, and returns them in the
// order of the signature. A trailing optional parameter without a default may be
// missing. It fails with fault.Invalid and says each problem, one a line.
func (p *parameters) check(argumentsJSON string) ([]member, error) {
	given, err := readArguments(argumentsJSON)
	if err != nil {
		return nil, err
	}
	for name, value := range given {
		given[name] = coerce(p.types[name], value)
	}
	problems := append(p.misnamed(given), p.invalid(given)...)
	if len(problems) > 0 {
		return nil, fault.Invalid.Errorf("%s", p.sentence(problems))
	}
	return p.arrange(given), nil
}

func readArguments(text string) (map[string]json.RawMessage, error) {
	if len(text) > maxArguments {
		return nil, fault.TooLarge.Errorf("the arguments have %d bytes; at most %d are taken", len(text), maxArguments)
	}
	if strings.TrimSpace(text) == "" || strings.TrimSpace(text) == "null" {
		return map[string]json.RawMessage{}, nil
	}
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return nil, fault.Invalid.Wrap(err, "the arguments must be one JSON object with a member for each parameter")
	}
	for name := range given {
		if strings.HasPrefix(name, reserved) {
			delete(given, name)
		}
	}
	return given, nil
}

type problem struct{ where, what string }

// misnamed finds missing and unknown arguments.
func (p *parameters) misnamed(given map[string]json.RawMessage) []problem {
	var problems []problem
	for _, name := range p.required {
		if _, ok := given[name]; !ok && p.defaults[name] == nil {
			problems = append(problems, problem{name, "Field required"})
		}
	}
	if p.open {
		return problems
	}
	var unknown []string
	for name := range given {
		if !slices.Contains(p.order, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		problems = append(problems, problem{name, "Unexpected keyword argument; known are: " + strings.Join(p.order, ", ")})
	}
	return problems
}

// invalid finds values that do not fit. Defaults are the author's business and are
// not looked at.
func (p *parameters) invalid(given map[string]json.RawMessage) []problem {
	if p.schema == nil {
		return nil
	}
	instance := map[string]any{}
	for name, value := range given {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
		if err != nil {
			return []problem{{name, "Input should be valid JSON"}}
		}
		instance[name] = v
	}
	var failed *jsonschema.ValidationError
	if err := p.schema.Validate(instance); !errors.As(err, &failed) {
		return nil
	}
	return leaves(failed, nil)
}

// leaves lists the innermost problems, without those that misnamed tells better. Of
// alternatives only the choice itself is told.
func leaves(e *jsonschema.ValidationError, found []problem) []problem {
	where := strings.Join(e.InstanceLocation, ".")
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		return append(found, problem{where, "Input should be " + alternatives(e)})
	case *kind.Required:
		if where == "" {
			return found
		}
		return append(found, problem{where, "Fields required: " + strings.Join(k.Missing, ", ")})
	case *kind.AdditionalProperties:
		if where == "" {
			return found
		}
	case *kind.Type:
		return append(found, problem{where, "Input should be a valid " + strings.Join(k.Want, " or ")})
	}
	if len(e.Causes) == 0 {
		return append(found, problem{where, e.ErrorKind.LocalizedString(english)})
	}
	for _, cause := range e.Causes {
		found = leaves(cause, found)
	}
	return found
}

var english = message.NewPrinter(language.English)

func alternatives(e *jsonschema.ValidationError) string {
	var wanted []string
	for _, cause := range e.Causes {
		if k, ok := cause.ErrorKind.(*kind.Type); ok {
			wanted = append(wanted, k.Want...)
		}
	}
	if len(wanted) == 0 {
		return "one of the allowed kinds"
	}
	return "a valid " + strings.Join(wanted, " or ")
}

// sentence says the problems as the agents' own SDK would.
func (p *parameters) sentence(problems []problem) string {
	title := p.title
	if title == "" {
		title = "the arguments"
	}
	var text strings.Builder
	plural := "s"
	if len(problems) == 1 {
		plural = ""
	}
	fmt.Fprintf(&text, "%d validation error%s for %s", len(problems), plural, title)
	for _, one := range problems {
		fmt.Fprintf(&text, "\n%s\n  %s", one.where, one.what)
	}
	return text.String()
}

// arrange puts arguments and defaults in the order of the signature. One that is
// missing without a default becomes null when a later one is there.
func (p *parameters) arrange(given map[string]json.RawMessage) []member {
	if p.whole {
		return p.members(given)
	}
	var all []member
	last := 0
	for _, name := range p.order {
		value, ok := given[name]
		if !ok {
			value, ok = p.defaults[name]
		}
		if !ok {
			value = json.RawMessage("null")
		}
		all = append(all, member{name, value})
		if ok {
			last = len(all)
		}
	}
	return all[:last]
}

// members are those of the one object that a workflow takes, with its defaults; what the
// schema does not name comes last.
func (p *parameters) members(given map[string]json.RawMessage) []member {
	all := []member{}
	others := maps.Clone(given)
	for _, name := range p.order {
		delete(others, name)
		if value, ok := given[name]; ok {
			all = append(all, member{name, value})
		} else if value, ok := p.defaults[name]; ok {
			all = append(all, member{name, value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		all = append(all, member{name, others[name]})
	}
	return all
}

// object writes members as one JSON object, in their order.
func object(members []member) json.RawMessage {
	var text bytes.Buffer
	text.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			text.WriteByte(',')
		}
		name, _ := json.Marshal(m.name) // a string always encodes
		text.Write(name)
		text.WriteByte(':')
		text.Write(m.value)
	}
	text.WriteByte('}')
	return text.Bytes()
}

// coerce reads a number or truth value out of a string where the schema wants one,
// as the agents' own SDK does.
func coerce(want string, value json.RawMessage) json.RawMessage {
	var text string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &text) != nil {
		return value
	}
	text = strings.TrimSpace(text)
	switch want {
	case "integer":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return json.RawMessage(strconv.FormatInt(n, 10))
		}
	case "number":
		if _, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	case "boolean":
		if b, err := strconv.ParseBool(strings.ToLower(text)); err == nil {
			return json.RawMessage(strconv.FormatBool(b))
		}
	}
	return value
}
