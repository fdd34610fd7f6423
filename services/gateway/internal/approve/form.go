package approve

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

//go:embed approve.html
var source string

var page = template.Must(template.New("approve").Parse(source))

// view is what the page shows.
type view struct {
	Title, Note, Error string
	// Ask says that there is a form.
	Ask     bool
	Message string
	// Until is the deadline, for people; empty: there is none.
	Until  string
	Fields []field
}

// untilOf is a question's deadline for people, who may be in any time zone.
func untilOf(q *schedulerv1.Question) string {
	return q.GetDeadline().AsTime().UTC().Format("2 January 2006, 15:04 UTC")
}

// field is one value of the form.
type field struct {
	Name, Label, Help, Kind, Value string
	Required, Checked, Many        bool
	Choices                        []choice
}

type choice struct {
	Value, Label string
	Chosen       bool
}

// property is one of a form's schema (MCP "Elicitation": flat and primitive).
type property struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Format      string   `json:"format"`
	Default     any      `json:"default"`
	Enum        []string `json:"enum"`
	EnumNames   []string `json:"enumNames"`
	OneOf       []titled `json:"oneOf"`
	Items       struct {
		Enum  []string `json:"enum"`
		AnyOf []titled `json:"anyOf"`
	} `json:"items"`
}

type titled struct {
	Const string `json:"const"`
	Title string `json:"title"`
}

type params struct {
	Message string `json:"message"`
	Schema  struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	} `json:"requestedSchema"`
}

// named is a property in the order in which it was asked for.
type named struct {
	name string
	property
}

func (p params) properties() []named {
	var all []named
	_ = jsonrpc.Members(p.Schema.Properties, func(name string, value json.RawMessage) error { // nothing below fails
		one := named{name: name}
		_ = json.Unmarshal(value, &one.property) // what cannot be read is a text
		all = append(all, one)
		return nil
	})
	return all
}

func viewOf(q *schedulerv1.Question, given url.Values, wrong string) view {
	switch q.GetState() {
	case "answered":
		return view{Title: "Answered", Note: "This question has been answered already."}
	case "withdrawn":
		return view{Title: "Nothing to answer", Note: "The run that asked does not need an answer any more."}
	case "expired":
		return view{Title: "Too late", Note: "Nobody answered in time: this question could be answered until " + untilOf(q) + "."}
	}
	var p params
	_ = json.Unmarshal([]byte(q.GetParamsJson()), &p) // what cannot be read has no form
	if q.GetMethod() != "elicitation/create" {
		return view{Title: "Nothing to answer here", Note: "This question is for a program, not for a person."}
	}
	v := view{Title: "A question for you", Ask: true, Message: p.Message, Error: wrong}
	if q.GetDeadline() != nil {
		v.Until = untilOf(q)
	}
	for _, property := range p.properties() {
		v.Fields = append(v.Fields, property.field(slices.Contains(p.Schema.Required, property.name), given))
	}
	return v
}

func (p named) field(required bool, given url.Values) field {
	f := field{Name: p.name, Label: p.Title, Help: p.Description, Kind: "text", Required: required}
	if f.Label == "" {
		f.Label = p.name
	}
	values := given[p.name]
	if given == nil {
		values = p.defaults()
	}
	if len(values) > 0 {
		f.Value = values[0]
	}
	for _, c := range p.choices() {
		c.Chosen = slices.Contains(values, c.Value)
		f.Choices = append(f.Choices, c)
	}
	switch {
	case p.Type == "boolean":
		f.Kind, f.Checked = "checkbox", f.Value == "true"
	case len(f.Choices) > 0:
		f.Kind, f.Many = "choices", p.Type == "array"
	case p.Type == "number" || p.Type == "integer":
		f.Kind = "number"
	case slices.Contains([]string{"email", "date"}, p.Format):
		f.Kind = p.Format
	case p.Format == "uri":
		f.Kind = "url"
	}
	return f
}

func (p named) defaults() []string {
	switch value := p.Default.(type) {
	case string:
		return []string{value}
	case bool:
		return []string{strconv.FormatBool(value)}
	case float64:
		return []string{strconv.FormatFloat(value, 'f', -1, 64)}
	case []any:
		var all []string
		for _, one := range value {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	return nil
}

func (p named) choices() (all []choice) {
	for i, value := range append(slices.Clone(p.Enum), p.Items.Enum...) {
		label := value
		if i < len(p.EnumNames) {
			label = p.EnumNames[i]
		}
		all = append(all, choice{Value: value, Label: label})
	}
	for _, one := range append(slices.Clone(p.OneOf), p.Items.AnyOf...) {
		all = append(all, choice{Value: one.Const, Label: one.Title})
	}
	return all
}

// resultOf is the MCP result that a form says.
func resultOf(q *schedulerv1.Question, given url.Values) (json.RawMessage, error) {
	if q.GetMethod() != "elicitation/create" {
		return nil, fault.Invalid.Errorf("this question is for a program, not for a person")
	}
	action := given.Get("answer")
	if action != "accept" && action != "decline" {
		return nil, fault.Invalid.Errorf("choose Accept or Decline")
	}
	if action == "decline" {
		return json.RawMessage(`{"action":"decline"}`), nil
	}
	var p params
	_ = json.Unmarshal([]byte(q.GetParamsJson()), &p) // as above
	content := map[string]any{}
	for _, property := range p.properties() {
		value, err := property.value(given[property.name])
		if err != nil {
			return nil, err
		}
		if value != nil {
			content[property.name] = value
		}
	}
	return jsonrpc.Encode(map[string]any{"action": action, "content": content}), nil
}

// value is a field's value in its type; nil when it was left empty.
func (p named) value(given []string) (any, error) {
	switch {
	case p.Type == "boolean":
		return len(given) > 0 && given[0] == "true", nil
	case p.Type == "array":
		return append([]string{}, given...), nil
	case len(given) == 0 || given[0] == "":
		return nil, nil
	case p.Type == "number" || p.Type == "integer":
		number := json.Number(given[0])
		if _, err := number.Float64(); err != nil || !json.Valid([]byte(given[0])) {
			return nil, fault.Invalid.Errorf("%q must be a number", p.name)
		}
		return number, nil
	}
	return given[0], nil
}

func show(w http.ResponseWriter, status int, v view) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = page.Execute(w, v)
}
